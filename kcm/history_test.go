package kcm

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// history is what one writer and some readers have done to one thing, in the
// order of a common clock. It is checked when all have ended.
type history struct {
	clock  atomic.Int64
	mu     sync.Mutex
	writes []step // of one goroutine, one after the other
	reads  []step
}

// step is a write of a value, or a read that saw one. It takes effect at
// some moment between its begin and its end. A value has versions, which
// somebody else makes anew without being asked: 0 is the writer's own.
type step struct {
	value, version int
	begin, end     int64
}

// absent is the value of what is not there.
const absent = -1

func (h *history) now() int64 { return h.clock.Add(1) }

// write does something that gives the thing a value.
func (h *history) write(value int, do func()) {
	begin := h.now()
	do()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes = append(h.writes, step{value, 0, begin, h.now()})
}

// read looks at the value.
func (h *history) read(look func() (value, version int)) {
	begin := h.now()
	value, version := look()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, step{value, version, begin, h.now()})
}

// check says what cannot have been: a read of a value that had been overwritten
// before it began, of one that was written after it had ended, and of a version
// older than one that had been read before.
func (h *history) check() error {
	slices.SortFunc(h.reads, func(a, b step) int { return int(a.begin - b.begin) })
	for i, r := range h.reads {
		if !h.possible(r) {
			return fmt.Errorf("read %d, from %d to %d, saw %d, which nobody had left there", i, r.begin, r.end, r.value)
		}
	}
	byEnd := slices.Clone(h.reads)
	slices.SortFunc(byEnd, func(a, b step) int { return int(a.end - b.end) })
	newest := map[int]int{} // by value, of the reads that had ended
	for _, r := range h.reads {
		for len(byEnd) > 0 && byEnd[0].end < r.begin {
			newest[byEnd[0].value] = max(newest[byEnd[0].value], byEnd[0].version)
			byEnd = byEnd[1:]
		}
		if r.version < newest[r.value] {
			return fmt.Errorf("the read from %d to %d saw version %d of %d after version %d", r.begin, r.end, r.version, r.value, newest[r.value])
		}
	}
	return nil
}

// possible reports whether a read may have seen its value: that of the last
// write that had ended before it began, or of one that it met.
func (h *history) possible(r step) bool {
	first, _ := slices.BinarySearchFunc(h.writes, r.begin, func(w step, at int64) int { return int(w.end - at) })
	if first == 0 && r.value == absent {
		return true
	}
	for _, w := range h.writes[max(first-1, 0):] {
		if w.begin > r.end {
			break
		}
		if w.value == r.value {
			return true
		}
	}
	return false
}

func TestAHistoryThatCannotHaveBeenIsSeen(t *testing.T) {
	writes := []step{{1, 0, 1, 2}, {absent, 0, 10, 12}, {2, 0, 20, 22}}
	for name, c := range map[string]struct {
		reads []step
		well  bool
	}{
		"each value in its time":                {[]step{{absent, 0, 0, 0}, {1, 0, 3, 4}, {absent, 0, 13, 14}, {2, 0, 23, 24}}, true},
		"either, while a write is under way":    {[]step{{1, 0, 9, 11}, {absent, 0, 9, 11}}, true},
		"what is destroyed comes back":          {[]step{{1, 0, 13, 14}}, false},
		"what is destroyed comes back, renewed": {[]step{{1, 1, 13, 14}}, false},
		"what is overwritten comes back":        {[]step{{1, 0, 23, 25}}, false},
		"a value before it is written":          {[]step{{2, 0, 13, 15}}, false},
		"a value that nobody wrote":             {[]step{{7, 0, 3, 4}}, false},
		"a version is newer":                    {[]step{{1, 0, 3, 4}, {1, 1, 5, 6}}, true},
		"a version goes back":                   {[]step{{1, 1, 3, 4}, {1, 0, 5, 6}}, false},
		"two reads at a time see two versions":  {[]step{{1, 1, 3, 6}, {1, 0, 5, 7}}, true},
	} {
		h := &history{writes: writes, reads: c.reads}
		if err := h.check(); (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
	}
}
