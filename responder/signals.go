package responder

import (
	"sync"
	"time"
)

// signalDelay is how long a signal waits for others. A signal that says again
// what one that waits says is left out: passing each on takes two processes
// longer than what it tells of.
const signalDelay = 10 * time.Millisecond

// maxWaiting bounds the signals that wait; later ones are lost, as they are on
// a bus that is too slow.
const maxWaiting = 4096

type waitingSignal struct {
	member string
	values []any
}

// maxCompared is how many values a signal may have to be compared with others.
const maxCompared = 4

// signalKey is all that a signal says, in a form that can be looked up.
type signalKey struct {
	member string
	values [maxCompared]any
}

// key returns what the signal says, if it can be compared at all.
func (s waitingSignal) key() (k signalKey, ok bool) {
	if len(s.values) > maxCompared {
		return signalKey{}, false
	}
	k.member = s.member
	for i, value := range s.values {
		switch value.(type) {
		case string, bool, uint32, int32, uint64, int64:
			k.values[i] = value
		default:
			return signalKey{}, false
		}
	}
	return k, true
}

// signalQueue are signals that wait.
type signalQueue struct {
	mu      sync.Mutex
	signals []waitingSignal
	latest  int               // where those of the last member begin
	added   map[signalKey]int // where each signal that waits was added last
}

// add takes a signal, unless it says nothing new, and reports whether it is the
// first. Its time does not grow with the number of those that wait. Signals of
// different members keep their order.
func (q *signalQueue) add(s waitingSignal) (first bool) {
	key, ok := s.key()
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.signals)
	if n >= maxWaiting {
		return false
	}
	if n > 0 && q.signals[n-1].member != s.member {
		q.latest = n
	}
	if ok {
		if at, waits := q.added[key]; waits && at >= q.latest {
			return false
		}
		if q.added == nil {
			q.added = map[signalKey]int{}
		}
		q.added[key] = n
	}
	q.signals = append(q.signals, s)
	return n == 0
}

// take returns all signals and forgets them.
func (q *signalQueue) take() []waitingSignal {
	q.mu.Lock()
	defer q.mu.Unlock()
	signals := q.signals
	q.signals, q.latest, q.added = nil, 0, nil
	return signals
}
