package rest

import (
	"net/http"
	"time"

	"gosssd/responder/metric"
	"gosssd/secrets/measure"
	"gosssd/secrets/records"
)

// op is what a request asks for, as metrics tell it.
type op int

const (
	opGet op = iota
	opPut
	opPost
	opDelete
	opOther     // of HTTP
	opKCMOwners // of sssd_kcm
	opKCMLoad
	opKCMCommit
	opKCMOther
	ops
)

var opNames = [ops]string{"get", "put", "post", "delete", "other", "kcm_owners", "kcm_load", "kcm_commit", "kcm_other"}

func opOfMethod(method string) op {
	switch method {
	case http.MethodGet:
		return opGet
	case http.MethodPut:
		return opPut
	case http.MethodPost:
		return opPost
	case http.MethodDelete:
		return opDelete
	}
	return opOther
}

func opOfKind(kind records.Kind) op {
	switch kind {
	case records.Owners:
		return opKCMOwners
	case records.Load:
		return opKCMLoad
	case records.Commit:
		return opKCMCommit
	}
	return opKCMOther
}

// result is what became of a request.
type result int

const (
	resultOK      result = iota
	resultCode           // an answer that is part of a client's way, as that there is no such secret
	resultRefused        // the client's fault, or its quota's: 4xx, 503, 507
	resultFailed         // 500, 504
	results
)

var resultNames = [results]string{"ok", "code", "refused", "failed"}

func resultOf(op string, status int, err error) result {
	switch {
	case isOrdinary(op, status, err):
		return resultCode
	case status == http.StatusInternalServerError, status == http.StatusGatewayTimeout:
		return resultFailed
	case status >= http.StatusBadRequest:
		return resultRefused
	}
	return resultOK
}

// answered counts what became of requests, and how long that took.
type answered [ops][results]metric.Durations

func (a *answered) add(o op, became result, took time.Duration) { a[o][became].Add(took) }

// Metrics reports the requests so far, and how the vault is.
func (s *service) Metrics() []metric.Family {
	requests := metric.Family{Name: "gosssd_secrets_requests", Kind: metric.Counter, Help: "Requests that were answered, by what they asked for and what became of them: ok; code, an answer that is part of a client's way, as that there is no such secret; refused; failed"}
	latency := metric.Spread("gosssd_secrets_request_seconds", "How long it took to answer requests")
	for o := range s.answered {
		all := &s.answered[o]
		for r := range all {
			sample := metric.Of(float64(all[r].Count()), "op", opNames[o], "result", resultNames[r])
			if result(r) != resultOK {
				sample.Word = resultNames[r]
			}
			requests.Samples = append(requests.Samples, sample)
		}
		one := metric.Together([]string{"op", opNames[o]}, &all[resultOK], &all[resultCode], &all[resultRefused], &all[resultFailed])
		latency.Samples = append(latency.Samples, one)
	}
	var sized measure.Sized
	if v := s.local.vault.opened(); v != nil {
		sized = v
	}
	return append([]metric.Family{
		metric.One(metric.Counter, "gosssd_secrets_received_requests", "", "requests", "Requests that have come, answered or not", float64(s.requests.Load())),
		metric.One(metric.Counter, "gosssd_secrets_dropped_clients", "", "refused", "Clients that were disconnected with a request that was not answered", float64(s.dropped.Load())),
		requests, latency,
	}, s.disk.Metrics("secrets", sized)...)
}
