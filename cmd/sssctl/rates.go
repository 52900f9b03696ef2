package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// endWords say why a process has ended, for the causes of gosssd_service_ends
// that are not in order.
var endWords = map[string]string{
	"failure": "failed", "signal": "killed by a signal", "unregistered": "did not register in time", "hung": "did not answer",
	"left": "left the private bus", "socket": "lost its socket", "unknown": "not known why",
}

// ends are the ends of a service that were not in order, by their causes.
func (m metricFamily) ends(service string) map[string]uint64 {
	found := map[string]uint64{}
	for why := range endWords {
		if n := m.sum("gosssd_service_ends", "service", service, "cause", why); n > 0 {
			found[why] = n
		}
	}
	return found
}

func endsText(ends map[string]uint64) string {
	var words []string
	for _, why := range slices.Sorted(maps.Keys(ends)) {
		words = append(words, strconv.FormatUint(ends[why], 10)+" "+endWords[why])
	}
	return strings.Join(words, ", ")
}

// rate is a number by second for people.
func rate(r float64) string {
	digits := 2
	if r >= 10 {
		digits = 0
	}
	return strconv.FormatFloat(r, 'f', digits, 64)
}

// look is what status has seen, to be compared with what it sees next.
type look struct {
	at    time.Time
	works []work
}

// ratesSince puts what happened since an earlier look in place of the average.
// A responder that has started again meanwhile keeps the average.
func (h *health) ratesSince(before look, now time.Time) look {
	passed := now.Sub(before.at).Seconds()
	for i := range h.Responders {
		w := &h.Responders[i]
		for _, b := range before.works {
			if b.Name == w.Name && w.Requests >= b.Requests && w.Unserved >= b.Unserved && passed > 0 {
				w.RequestRate, w.UnservedRate = float64(w.Requests-b.Requests)/passed, float64(w.Unserved-b.Unserved)/passed
			}
		}
	}
	return look{now, h.Responders}
}
