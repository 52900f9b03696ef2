package vault

import (
	"context"
	"errors"
	"runtime"
	"sync"
)

const (
	// maxGroup and maxGroupBytes bound what is committed with one sync.
	maxGroup      = 512
	maxGroupBytes = 8 << 20
)

// queue lets one goroutine write at a time. A goroutine that comes while none
// writes begins at once. Those that come while another writes wait; when that
// is done, the first of them writes the changes of all that wait, with one
// flush of the disk. There is no goroutine for writing: to wake it, and to wake
// the caller afterwards, would take as long as the disk does.
type queue struct {
	mu      sync.Mutex
	waiting []*pending
	writing bool
	closed  bool
	idle    sync.Cond // of writing, for close
}

func newQueue() *queue {
	q := &queue{}
	q.idle.L = &q.mu
	return q
}

// pending is a change that waits to be written.
type pending struct {
	// apply makes the change in a batch. A refused change was not made and
	// leaves the others alone; with a failed one the whole batch is given up.
	apply  func(*batch) (refused, failed error)
	bytes  int
	alone  bool        // with no other, and not through the journal
	result chan result // of one element
}

// result is what a change that waits gets: an answer, or the turn to write.
type result struct {
	turn bool
	err  error
}

// change makes a change and returns when it is on disk. Once it has begun to
// wait it is made whatever becomes of ctx.
func (v *Vault) change(ctx context.Context, bytes int, apply func(*batch) (refused, failed error)) error {
	return v.submit(ctx, &pending{apply: apply, bytes: bytes, result: make(chan result, 1)})
}

// changeAlone makes a change of the file itself, or of many records: it sees a
// database that has everything, and is committed by the engine.
func (v *Vault) changeAlone(ctx context.Context, apply func(*batch) error) error {
	return v.submit(ctx, &pending{
		apply:  func(b *batch) (refused, failed error) { return nil, apply(b) },
		alone:  true,
		result: make(chan result, 1),
	})
}

func (v *Vault) submit(ctx context.Context, own *pending) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	wait, err := v.queue.enter(own)
	if err != nil {
		return err
	}
	if wait {
		if r := <-own.result; !r.turn {
			return r.err
		}
	}
	group := v.queue.take(own)
	results := v.commit(group)
	for i, other := range group[1:] {
		other.result <- result{err: results[i+1]}
	}
	v.queue.gather(len(group))
	v.queue.leave()
	return results[0]
}

// enter reports whether a change has to wait; if not, it is its turn to write.
func (q *queue) enter(r *pending) (wait bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, ErrClosed
	}
	if q.writing {
		q.waiting = append(q.waiting, r)
		return true, nil
	}
	q.writing = true
	return false, nil
}

// take returns the changes to be written together: own, whose turn it is, and
// as many of those that wait as the bounds allow.
func (q *queue) take(own *pending) []*pending {
	q.mu.Lock()
	defer q.mu.Unlock()
	group, bytes := []*pending{own}, own.bytes
	for !own.alone && len(q.waiting) > 0 && !q.waiting[0].alone && len(group) < maxGroup && bytes < maxGroupBytes {
		bytes += q.waiting[0].bytes
		group = append(group, q.waiting[0])
		q.waiting = q.waiting[1:]
	}
	return group
}

// gather gives the goroutines that were just answered time to bring their next
// change, as long as more of them do: one flush serves all that are there. After
// a change that was written alone there is nobody to wait for.
func (q *queue) gather(answered int) {
	if answered == 1 {
		return
	}
	before := -1
	for range answered {
		q.mu.Lock()
		now := len(q.waiting)
		q.mu.Unlock()
		if now == before {
			return
		}
		before = now
		runtime.Gosched()
	}
}

// leave gives the turn to the first that waits.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.waiting, q.writing = nil, false
		q.idle.Broadcast()
		return
	}
	q.waiting[0].result <- result{turn: true}
	q.waiting = q.waiting[1:]
}

// close takes no more changes, and returns when those that wait are made. It
// reports whether the queue was open.
func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.closed = true
	for q.writing {
		q.idle.Wait()
	}
	return true
}

// commit makes the changes of a group in one transaction. If the disk has no
// room for all of them, each is tried by itself: one that is large must not be
// the end of those that are small.
func (v *Vault) commit(group []*pending) []error {
	results := make([]error, len(group))
	err := v.use(func(f *file) error { return f.write(group, results) })
	if errors.Is(err, ErrFull) && len(group) > 1 {
		for i, r := range group {
			results[i] = v.commit([]*pending{r})[0]
		}
		return results
	}
	if err != nil {
		for i := range results {
			results[i] = err
		}
	}
	return results
}
