package responder

import (
	"reflect"
	"slices"
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

// drafts are signals that wait.
type drafts struct {
	mu      sync.Mutex
	signals []notice
	latest  int // where those of the last member begin
}

// add takes a signal, unless it says nothing new, and reports whether it is
// the first. Signals of different members keep their order.
func (d *drafts) add(s notice) (first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.signals)
	if n > 0 && d.signals[n-1].member != s.member {
		d.latest = n
	}
	same := func(other notice) bool { return reflect.DeepEqual(other.values, s.values) }
	if n >= maxDrafts || slices.ContainsFunc(d.signals[d.latest:], same) {
		return false
	}
	d.signals = append(d.signals, s)
	return n == 0
}

// take returns all signals and forgets them.
func (d *drafts) take() []notice {
	d.mu.Lock()
	defer d.mu.Unlock()
	signals := d.signals
	d.signals, d.latest = nil, 0
	return signals
}
