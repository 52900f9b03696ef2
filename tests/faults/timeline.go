package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gosssd/kcm/client"
)

// timeline is what was done to a server, and which requests failed without an
// excuse: each is told with the faults before it, so that a run explains itself.
type timeline struct {
	mu       sync.Mutex
	events   []event
	failures []failure
	excused  int
}

// event is a fault, or a part of one.
type event struct {
	what       string
	begin, end time.Duration
	excuses    bool // requests meanwhile may fail: they are in a process that is killed, or meet a full disk
}

// failure is a request that failed, or a command.
type failure struct {
	step
	what, err string
}

// unending is the end of what goes on.
const unending = time.Duration(1 << 62)

// during notes the time that f takes.
func (h *history) during(what string, excuses bool, f func()) {
	t := &h.timeline
	t.mu.Lock()
	i := len(t.events)
	t.events = append(t.events, event{what, h.now(), unending, excuses})
	t.mu.Unlock()
	f()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events[i].end = h.now()
}

// excuse says whether a request met an event that excuses it. The caller holds mu.
func (t *timeline) excuse(s step) bool {
	return slices.ContainsFunc(t.events, func(e event) bool { return e.excuses && s.Begin <= e.end && e.begin <= s.End })
}

// judge counts a failure of a request, and whether something excuses it.
func (h *history) judge(c *client.Client, what string, s step, err error) {
	h.requests.Add(1)
	if err == nil {
		return
	}
	var refused *client.Error
	if !errors.As(err, &refused) {
		_ = c.Close()
	}
	t := &h.timeline
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.excuse(s) {
		t.excused++
		return
	}
	t.failures = append(t.failures, failure{s, what, words(err)})
}

// complain notes something else that went wrong, which nothing excuses.
func (h *history) complain(what string, err error) {
	t := &h.timeline
	t.mu.Lock()
	defer t.mu.Unlock()
	now := h.now()
	t.failures = append(t.failures, failure{step{Begin: now, End: now}, what, fmt.Sprint(err)})
}

// toldEvents is how many of the events before a failure are told with it.
const toldEvents = 4

// tell is a failure in words. Times of events count from when the request began.
func (t *timeline) tell(f failure) string {
	var text strings.Builder
	fmt.Fprintf(&text, "at %v, after %v: %s: %s", f.End.Round(time.Microsecond), (f.End - f.Begin).Round(time.Microsecond), f.what, f.err)
	before := slices.DeleteFunc(slices.Clone(t.events), func(e event) bool { return e.begin > f.End })
	for _, e := range before[max(0, len(before)-toldEvents):] {
		fmt.Fprintf(&text, "; %s from %v", e.what, (e.begin - f.Begin).Round(time.Microsecond))
		if e.end != unending {
			fmt.Fprintf(&text, " to %v", (e.end - f.Begin).Round(time.Microsecond))
		}
	}
	return text.String()
}

// toldFailures is how many failures are told one by one.
const toldFailures = 10

// explain returns the first failures with what came before them, and how many
// there were of each kind: an error, and the last event before it.
func (t *timeline) explain() (lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.failures, func(a, b failure) int { return cmp.Compare(a.End, b.End) })
	kinds := map[string]int{}
	for i, f := range t.failures {
		if i < toldFailures {
			lines = append(lines, t.tell(f))
		}
		last := "nothing"
		for _, e := range t.events {
			if e.begin <= f.End {
				last = e.what
			}
		}
		last, _, _ = strings.Cut(last, ",")
		kinds[f.err+" after: "+last]++
	}
	for kind, n := range kinds {
		lines = append(lines, fmt.Sprintf("%d times: %s", n, kind))
	}
	slices.Sort(lines[min(len(lines), toldFailures, len(t.failures)):])
	return lines
}
