package log

import (
	"fmt"
	"hash/maphash"
	"maps"
	"strconv"
	"sync"
	"time"
)

// Lines of one cause and user beyond firstLines within firstWindow are counted
// instead of written, and the count is written when the window has passed. As
// long as lines repeat, each window lasts twice as long as the one before, up
// to lastWindow; after the first that was too short for its lines, each has one
// line. So no client can fill the disk with lines.
const (
	firstLines  = 10
	firstWindow = 10 * time.Second
	lastWindow  = time.Hour
)

// maxCauses bounds what is remembered; further users then share one count for
// each place in the program that writes.
const maxCauses = 4096

// Cause is a value of a line that tells the causes of lines apart: lines from
// the same place in the program, about the same uid, and with equal Cause
// values repeat each other, whatever their other values are.
type Cause string

// cause is what lines that repeat each other have in common. The uid is that of
// the last pair named "uid", or of the logger's client. Lines without one have
// all of their text in common.
type cause struct {
	place  uintptr // of the call in the program
	uid    string
	detail uint64 // a hash of the Cause values, or of the text
}

// repeat counts the lines of one cause in the present window.
type repeat struct {
	window  time.Duration
	allowed int
	lines   int
	missing int   // lines that are not written
	example entry // the first of them
	end     *time.Timer
}

// repeats counts lines by their causes.
type repeats struct {
	deliver func(entry)
	seed    maphash.Seed

	mu     sync.Mutex
	causes map[cause]*repeat
}

func newRepeats(deliver func(entry)) *repeats {
	return &repeats{deliver: deliver, seed: maphash.MakeSeed(), causes: map[cause]*repeat{}}
}

// admit reports whether a line of a cause is written. If not, it is counted;
// line is called if the line will serve as an example of those.
func (r *repeats) admit(c cause, line func() entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.causes[c]
	if one == nil && len(r.causes) >= maxCauses {
		c = cause{place: c.place}
		one = r.causes[c]
	}
	if one == nil {
		one = &repeat{window: firstWindow, allowed: firstLines}
		one.end = time.AfterFunc(firstWindow, func() { r.endWindow(c) })
		r.causes[c] = one
	}
	if one.lines++; one.lines <= one.allowed {
		return true
	}
	if one.missing++; one.missing == 1 {
		one.example = line()
	}
	return false
}

// endWindow forgets a cause, or writes how many of its lines are missing.
func (r *repeats) endWindow(c cause) {
	r.mu.Lock()
	one := r.causes[c]
	if one == nil { // flush was faster
		r.mu.Unlock()
		return
	}
	missing, summary := one.missing, one.summary()
	if one.lines <= 1 {
		delete(r.causes, c)
	} else {
		if missing > 0 {
			one.allowed = 1
		}
		one.lines, one.missing = 0, 0
		one.window = min(2*one.window, lastWindow)
		one.end.Reset(one.window)
	}
	r.mu.Unlock()
	if missing > 0 {
		r.deliver(summary)
	}
}

// flush writes what endWindow would write, now, and forgets all causes.
func (r *repeats) flush() {
	r.mu.Lock()
	var summaries []entry
	for _, one := range r.causes {
		one.end.Stop()
		if one.missing > 0 {
			summaries = append(summaries, one.summary())
		}
	}
	clear(r.causes)
	r.mu.Unlock()
	for _, summary := range summaries {
		r.deliver(summary)
	}
}

func (o *repeat) summary() entry {
	e := o.example
	if e.fields != nil {
		e.fields = maps.Clone(e.fields)
		e.fields[fieldPrefix+"LEFT_OUT"] = strconv.Itoa(o.missing)
	}
	e.text = fmt.Sprintf("%d lines like this one were left out in %v: %s", o.missing, o.window, e.text)
	return e
}

// causeOf is the cause of a line. text is called if all of its text matters.
func (r *repeats) causeOf(place uintptr, l *Logger, args []any, text func() string) cause {
	c := cause{place: place, uid: l.uid}
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, pairs := range [][]any{l.fields, args} {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == "uid" {
				c.uid = fmt.Sprint(pairs[i+1])
			}
			if part, ok := pairs[i+1].(Cause); ok {
				_, _ = h.WriteString(string(part)) // never fails
				_ = h.WriteByte(0)
			}
		}
	}
	if c.uid == "" {
		_, _ = h.WriteString(text())
	}
	c.detail = h.Sum64()
	return c
}
