package main

import (
	"testing"
	"time"

	"gosssd/responder/metric"
)

func TestRatesAreOfTheTimeBetweenTwoLooks(t *testing.T) {
	t.Parallel()
	start := time.Unix(1772366400, 0)
	before := look{start, []work{{Name: "kcm", Requests: 100, Unserved: 4}, {Name: "secrets", Requests: 50}}}
	h := &health{Responders: []work{{Name: "kcm", Requests: 150, Unserved: 5, RequestRate: 1}, {Name: "secrets", Requests: 3, RequestRate: 7}}}
	h.ratesSince(before, start.Add(2*time.Second))
	if w := h.Responders[0]; w.RequestRate != 25 || w.UnservedRate != 0.5 {
		t.Errorf("%+v", w)
	}
	if w := h.Responders[1]; w.RequestRate != 7 {
		t.Errorf("a responder that was started again: %+v", w)
	}
}

func TestEndsAreToldInWords(t *testing.T) {
	t.Parallel()
	m := metricFamily{{Name: "gosssd_service_ends", Samples: []metric.Sample{
		metric.Of(2, "service", "kcm", "cause", "signal"), metric.Of(5, "service", "kcm", "cause", "exit"), metric.Of(1, "service", "kcm", "cause", "hung"),
		metric.Of(9, "service", "secrets", "cause", "failure"),
	}}}
	if got := endsText(m.ends("kcm")); got != "1 did not answer, 2 killed by a signal" {
		t.Errorf("got %q", got)
	}
}
