package kcm

import (
	"strings"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/responder/metric"
)

// Measured is a Store that counts what it does.
type Measured interface {
	Metrics() []metric.Family
}

// measures count what became of requests, and how long that took: from when the
// request had come until its reply was written. The last row is of operations
// that are not in the table.
type measures [rows + 1][severities]metric.Durations

// count counts the request that was answered.
func (s *session) count(took time.Duration) {
	s.server.measures[rowOf(s.op.op)][s.did].Add(took)
	s.own.requests.Add(1)
	if s.did >= refused {
		s.own.unserved.Add(1)
	}
}

// severities is how many there are, and severityNames what metrics call them.
const severities = failed + 1

var severityNames = [severities]string{served: "ok", ordinary: "code", refused: "refused", failed: "failed"}

// Metrics reports what was counted since the start, and what there is now.
func (s *Server) Metrics() []metric.Family {
	families := append(s.measures.metrics(), s.users.metrics()...)
	families = append(families, s.maintained()...)
	families = append(families, s.obtaining.metrics()...)
	families = append(families, s.renewing.metrics()...)
	families = append(families, s.hooks.metrics()...)
	families = append(families, s.bound.metrics()...)
	families = append(families, s.fullest()...)
	if store, ok := s.users.present().(Measured); ok {
		families = append(families, store.Metrics()...)
	}
	return families
}

// metrics tells of requests. Every operation that is served is there from the
// start, so that the first one is seen as one more than none.
func (m *measures) metrics() []metric.Family {
	requests := metric.Family{Name: "gosssd_kcm_requests", Kind: metric.Counter,
		Help: "Requests that were answered, by operation and by what became of them: ok; code, an answer that is part of a client's way, as that there is no such cache; refused; failed"}
	latency := metric.Spread("gosssd_kcm_request_seconds", "How long it took from a request to its reply, by operation")
	unserved := 0.0
	for row := range m {
		name := "unknown"
		if row < rows {
			name = nameOf(operations[row].op)
		}
		all := &m[row]
		together := make([]*metric.Durations, severities)
		seen := false
		for did := range all {
			n := float64(all[did].Count())
			sample := metric.Of(n, "op", name, "result", severityNames[did])
			sample.Word = "requests"
			requests.Samples = append(requests.Samples, sample)
			if severity(did) >= refused {
				unserved += n
			}
			together[did], seen = &all[did], seen || n > 0
		}
		if !seen && (row == rows || operations[row].access == nothing) {
			requests.Samples = requests.Samples[:len(requests.Samples)-int(severities)]
			continue
		}
		latency.Samples = append(latency.Samples, metric.Together([]string{"op", name}, together...))
	}
	return []metric.Family{
		requests, latency,
		metric.One(metric.Counter, "gosssd_kcm_unserved_requests", "", "failures", "Requests that were refused or failed, of all operations", unserved),
	}
}

// nameOf is an operation as metrics name it: "get_cred_list".
func nameOf(op protocol.Op) string { return strings.ToLower(op.String()) }

// metrics tells of the collections that are in memory, and of the store behind them.
func (u *users) metrics() []metric.Family {
	var sum usage
	users := 0
	for _, c := range u.all() {
		if s := c.published.Load(); s != nil {
			users++
			sum.add(s.usage())
		}
	}
	loads := metric.Spread("gosssd_kcm_load_seconds", "How long it took to read the caches of a user from the store")
	loads.Samples = []metric.Sample{counted("loads", &u.loads)}
	commits := metric.Spread("gosssd_kcm_commit_seconds", "How long it took the store to make a change durable")
	commits.Samples = []metric.Sample{counted("commits", &u.commits)}
	gauge := func(name, unit, word, help string, value float64) metric.Family {
		return metric.One(metric.Gauge, name, unit, word, help, value)
	}
	counter := func(name, word, help string, value uint64) metric.Family {
		return metric.One(metric.Counter, name, "", word, help, float64(value))
	}
	return []metric.Family{
		gauge("gosssd_kcm_users", "", "users", "Users whose caches are in memory", float64(users)),
		gauge("gosssd_kcm_caches", "", "caches", "Caches of these users", float64(sum.caches)),
		gauge("gosssd_kcm_credentials", "", "credentials", "Credentials in these caches", float64(sum.credentials)),
		gauge("gosssd_kcm_credentials_bytes", metric.Bytes, "bytes", "The size of these credentials", float64(sum.bytes)),
		gauge("gosssd_kcm_caches_memory_bytes", metric.Bytes, "memory", "The memory that all caches take", float64(u.resident.Load())),
		gauge("gosssd_kcm_caches_memory_limit_bytes", metric.Bytes, "", "How much of it they may take", residentLimit),
		loads, commits,
		counter("gosssd_kcm_failed_loads", "", "Reads of a user's caches from the store that failed", u.failedLoads.Load()),
		counter("gosssd_kcm_failed_commits", "", "Changes that the store has refused or failed to make", u.failedCommits.Load()),
		counter("gosssd_kcm_purged_caches", "purged caches", "Caches that were removed without a request for it", u.purgedCaches.Load()),
		counter("gosssd_kcm_purged_credentials", "purged credentials", "Credentials that were removed without a request for it", u.purgedCredentials.Load()),
	}
}

func counted(word string, d *metric.Durations) metric.Sample {
	s := metric.Together(nil, d)
	s.Word = word
	return s
}

// maintained tells of the upkeep.
func (s *Server) maintained() []metric.Family {
	next := 0.0
	if at := s.purgeAt.Load(); at != never {
		next = float64(at)
	}
	return []metric.Family{
		metric.One(metric.Counter, "gosssd_kcm_root_accesses", "", "accesses by root", "Users whose caches root has reached, each once for a connection", float64(s.foreign.Load())),
		metric.One(metric.Gauge, "gosssd_kcm_next_purge_timestamp_seconds", metric.Seconds, "", "When expired tickets are removed next, in seconds since 1970; 0 if never", next),
		metric.One(metric.Counter, "gosssd_kcm_dropped_clients", "", "failures", "Clients that were disconnected for breaking the protocol, for stalling or for the memory they took", float64(s.dropped.Load())),
	}
}

// present returns the store, if it is open.
func (u *users) present() Store {
	u.opening.Lock()
	defer u.opening.Unlock()
	return u.opened
}
