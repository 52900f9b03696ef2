package kcm

import (
	"fmt"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
	"gosssd/responder/metric"
)

// sampleOf returns the value of the one sample of a family that has these labels,
// given as names and values; of a histogram, how many were counted.
func sampleOf(t *testing.T, families []metric.Family, name string, labels ...string) float64 {
	t.Helper()
	for _, f := range families {
		if f.Name != name {
			continue
		}
		for _, s := range f.Samples {
			if fmt.Sprint(s.Labels) != fmt.Sprint(metric.Of(0, labels...).Labels) && len(s.Labels)+len(labels) > 0 {
				continue
			}
			if f.Kind != metric.Histogram {
				return s.Value
			}
			n := uint64(0)
			for _, in := range s.Buckets {
				n += in
			}
			return float64(n)
		}
	}
	t.Errorf("there is no %s with %v", name, labels)
	return -1
}

func TestRequestsAreCountedByOperationAndResult(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "1"})
	c := r.client(1000)
	c.login("1000", "alice")
	c.must(protocol.OpGetPrincipal, name("1000"))
	_, _ = c.Call(protocol.OpGetPrincipal, name("1000:none"))
	_, _ = c.Call(protocol.OpInitialize, append(name("1000:b"), princ("bob@"+realm)...))
	_, _ = c.Call(protocol.OpGetPrincipal, name("1001"))
	c.must(protocol.OpNoop) // what was before it is counted by now
	all := r.server.Metrics()
	for _, want := range []struct {
		op, result string
		n          float64
	}{{"get_principal", "ok", 1}, {"get_principal", "code", 1}, {"get_principal", "refused", 1}, {"replace", "ok", 1}, {"initialize", "refused", 1}, {"destroy", "ok", 0}} {
		if n := sampleOf(t, all, "gosssd_kcm_requests", "op", want.op, "result", want.result); n != want.n {
			t.Errorf("%s %s: %v, want %v", want.op, want.result, n, want.n)
		}
	}
	if n := sampleOf(t, all, "gosssd_kcm_request_seconds", "op", "get_principal"); n != 3 {
		t.Errorf("%v durations of GET_PRINCIPAL", n)
	}
	if n := sampleOf(t, all, "gosssd_kcm_unserved_requests"); n != 2 {
		t.Errorf("%v requests were not served", n)
	}
	if n := sampleOf(t, all, "gosssd_kcm_commit_seconds"); n < 1 {
		t.Errorf("%v commits", n)
	}
}

// TestLabelsAreNotTheClients: what a client sends makes no metric.
func TestLabelsAreNotTheClients(t *testing.T) {
	r := newRig(t, nil)
	for uid := range uint32(30) {
		c := r.client(2000 + uid)
		c.login(fmt.Sprint(2000+uid), "mallory-of-metrics")
		_, _ = c.Call(protocol.Op(700+uid), []byte("rubbish"))
		c.must(protocol.OpNoop)
	}
	all := r.server.Metrics()
	if n := sampleOf(t, all, "gosssd_kcm_requests", "op", "unknown", "result", "code"); n != 30 {
		t.Errorf("%v unknown operations", n)
	}
	for _, f := range all {
		if strings.HasPrefix(f.Name, "gosssd_kcm_user_") && len(f.Samples) != fullestUsers {
			t.Errorf("%s tells of %d users", f.Name, len(f.Samples))
		}
		for _, s := range f.Samples {
			if text := fmt.Sprint(s.Labels); strings.Contains(text, "mallory") || strings.Contains(text, "70") {
				t.Errorf("%s: %s", f.Name, text)
			}
		}
	}
}

func TestUsageIsKnownAfterACollectionHasLeftMemory(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "4"})
	for uid, n := range map[uint32]int{1000: 1, 1001: 3, 1002: 2} {
		c := r.client(uid)
		for i := range n {
			c.login(fmt.Sprintf("%d:%d", uid, i), "alice")
		}
		c.must(protocol.OpNoop)
	}
	if !r.server.evict(r.server.users.of(1001)) {
		t.Fatal("nothing left memory")
	}
	results, err := r.server.Call(t.Context(), userUsage, []any{"fullness", uint32(2)})
	if err != nil {
		t.Fatal(err)
	}
	list := results[1].([]Used)
	if results[0] != uint32(3) || len(list) != 2 || list[0].UID != 1001 || list[1].UID != 1002 {
		t.Fatalf("%d users are known, of whom are told %+v", results[0], list)
	}
	if u := list[0]; u.Caches != 3 || u.Credentials != 3 || u.Fullness != 0.75 || u.Limit != "max_uid_ccaches" || u.Requests == 0 {
		t.Errorf("%+v", u)
	}
	if _, err := r.server.Call(t.Context(), userUsage, []any{"beauty", uint32(2)}); err == nil || !strings.Contains(err.Error(), "beauty") {
		t.Errorf("an order that there is not: %v", err)
	}
}
