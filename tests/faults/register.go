package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// A cache is taken for a register that one client writes: its value is the
// number of the login that made it, or absent.
const (
	absent = 0
	half   = -1 // tickets of several logins, or too few
)

// step is a write of a value, or a read that saw one, between two moments.
type step struct {
	Value      int
	Begin, End time.Duration
	Unsure     bool // a write that was not acknowledged
	Settled    bool // no write, but what the writer has read
}

// register is what was done to one cache. All writes are of one client, one
// after another; reads are of several.
type register struct {
	mu     sync.Mutex
	writes []step
	reads  []step
}

func (r *register) wrote(s step) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, s)
}

// saw notes a read. What the writer itself reads between two writes is settled
// from there on: a write that was not acknowledged was made, or never will be.
func (r *register) saw(s step, writer bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, s)
	if writer && s.Value != half {
		r.writes = append(r.writes, step{Value: s.Value, Begin: s.Begin, End: s.End, Settled: true})
	}
}

// wrongs are the reads that cannot have been, counted by what is wrong.
type wrongs struct {
	Lost, Half, Back, Unknown int
	First                     string
	Expired                   int // reads that are right only since tickets have expired
}

func (w *wrongs) count() int { return w.Lost + w.Half + w.Back + w.Unknown }

func (w *wrongs) add(other wrongs) {
	w.Lost, w.Half, w.Back, w.Unknown = w.Lost+other.Lost, w.Half+other.Half, w.Back+other.Back, w.Unknown+other.Unknown
	w.Expired += other.Expired
	if w.First == "" {
		w.First = other.First
	}
}

// check judges every read by the writes that it may have seen. The clock of the
// servers was stepped forward in those times, at which some logins expire.
func (r *register) check(name string, forward []step) (w wrongs) {
	slices.SortFunc(r.writes, func(a, b step) int { return int(a.Begin - b.Begin) })
	for _, read := range r.reads {
		possible, before := r.possible(read)
		if slices.Contains(possible, read.Value) {
			continue
		}
		if read.Value == absent && slices.ContainsFunc(possible, func(value int) bool { return r.expired(value, read, forward) }) {
			w.Expired++
			continue
		}
		what := ""
		switch {
		case read.Value == half:
			what = "half-made"
			w.Half++
		case read.Value != absent && !slices.ContainsFunc(r.writes[:before], func(s step) bool { return s.Value == read.Value && !s.Settled }):
			what = "never written before"
			w.Unknown++
		case slices.Contains(possible, absent):
			what = "destroyed and back"
			w.Back++
		default:
			what = "older than what was acknowledged"
			w.Lost++
		}
		if w.First == "" {
			w.First = fmt.Sprintf("%s: the read from %v to %v saw %d, which is %s; possible %v", name, read.Begin, read.End, read.Value, what, possible)
		}
	}
	return w
}

// expired says whether a value may have expired between its login and a read.
func (r *register) expired(value int, read step, forward []step) bool {
	if value <= 0 || !expires(value) {
		return false
	}
	login := slices.IndexFunc(r.writes, func(s step) bool { return s.Value == value && !s.Settled })
	return login >= 0 && slices.ContainsFunc(forward, func(f step) bool { return f.End >= r.writes[login].Begin && f.Begin <= read.End })
}

// possible returns the values that a read may see: those of the writes that it
// met, and of those before up to the last that was acknowledged; and how many
// writes had begun when it ended.
func (r *register) possible(read step) (values []int, before int) {
	before, _ = slices.BinarySearchFunc(r.writes, read.End, func(s step, end time.Duration) int {
		if s.Begin <= end {
			return -1
		}
		return 1
	})
	for i := before - 1; i >= 0; i-- {
		w := r.writes[i]
		if w.Settled && w.End > read.Begin {
			continue // this read itself, or one at the same time
		}
		values = append(values, w.Value)
		if !w.Unsure && w.End <= read.Begin {
			return values, before
		}
	}
	return append(values, absent), before
}
