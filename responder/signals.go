package responder

import (
	"sync"
	"time"
)

// signalDelay is how long a signal waits for others. A signal that says again
// what one that waits says is left out: passing each on takes two processes
// longer than what it tells of.
const signalDelay = 10 * time.Millisecond

// maxDrafts bounds the signals that wait; later ones are lost, as they are on
// a bus that is too slow.
const maxDrafts = 4096

type notice struct {
	member string
	values []any
}

// maxTelling is how many values a signal may have to be compared with others.
const maxTelling = 4

// telling is all that a signal says, in a form that can be looked up.
type telling struct {
	member string
	values [maxTelling]any
}

// telling returns what the signal says, if it can be compared at all.
func (s notice) telling() (t telling, ok bool) {
	if len(s.values) > maxTelling {
		return telling{}, false
	}
	t.member = s.member
	for i, value := range s.values {
		switch value.(type) {
		case string, bool, uint32, int32, uint64, int64:
			t.values[i] = value
		default:
			return telling{}, false
		}
	}
	return t, true
}

// drafts are signals that wait.
type drafts struct {
	mu      sync.Mutex
	signals []notice
	latest  int             // where those of the last member begin
	said    map[telling]int // where each signal that waits was added last
}

// add takes a signal, in a time that does not grow with those that wait, unless it says nothing new, and reports whether it is
// the first. Signals of different members keep their order.
func (d *drafts) add(s notice) (first bool) {
	t, comparable := s.telling()
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.signals)
	if n >= maxDrafts {
		return false
	}
	if n > 0 && d.signals[n-1].member != s.member {
		d.latest = n
	}
	if comparable {
		if at, waits := d.said[t]; waits && at >= d.latest {
			return false
		}
		if d.said == nil {
			d.said = map[telling]int{}
		}
		d.said[t] = n
	}
	d.signals = append(d.signals, s)
	return n == 0
}

// take returns all signals and forgets them.
func (d *drafts) take() []notice {
	d.mu.Lock()
	defer d.mu.Unlock()
	signals := d.signals
	d.signals, d.latest, d.said = nil, 0, nil
	return signals
}
