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

// queue makes one writer at a time of the goroutines that have changes to
// make: who comes while nobody writes, writes; who comes meanwhile waits, and
// all that wait are written together, by the first of them. A goroutine for
// writing alone would cost two switches for each change, which is as long as
// the disk takes.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	writing bool
	closed  bool
	idle    sync.Cond // of writing, for close
}

func newQueue() *queue {
	q := &queue{}
	q.idle.L = &q.mu
	return q
}

// request is a change that waits.
type request struct {
	// apply makes the change in a batch. A refused change was not made and
	// leaves the others alone; with a failed one the whole batch is given up.
	apply  func(*batch) (refused, failed error)
	bytes  int
	alone  bool        // with no other, and not through the journal
	result chan result // of one element
}

// result is what a waiting request gets: an answer, or the turn to write.
type result struct {
	turn bool
	err  error
}

// change makes a change and returns when it is on disk. Once it has begun to
// wait it is made whatever becomes of ctx.
func (v *Vault) change(ctx context.Context, bytes int, apply func(*batch) (refused, failed error)) error {
	return v.submit(ctx, &request{apply: apply, bytes: bytes, result: make(chan result, 1)})
}

// changeAlone makes a change of the file itself, or of many records: it sees a
// database that has everything, and is committed by the engine.
func (v *Vault) changeAlone(ctx context.Context, apply func(*batch) error) error {
	return v.submit(ctx, &request{
		apply:  func(b *batch) (refused, failed error) { return nil, apply(b) },
		alone:  true,
		result: make(chan result, 1),
	})
}

func (v *Vault) submit(ctx context.Context, own *request) error {
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

// enter reports whether a request has to wait; if not, it is its turn to write.
func (q *queue) enter(r *request) (wait bool, err error) {
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
// those that wait.
func (q *queue) take(own *request) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	group, bytes := []*request{own}, own.bytes
	for !own.alone && len(q.waiting) > 0 && !q.waiting[0].alone && len(group) < maxGroup && bytes < maxGroupBytes {
		bytes += q.waiting[0].bytes
		group = append(group, q.waiting[0])
		q.waiting = q.waiting[1:]
	}
	return group
}

// gather lets those that were just answered come back with their next change,
// as long as more of them do: a larger group costs the disk no more. Who was
// alone is not waited for.
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

// close takes no more requests, and returns when those that wait are made. It
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
func (v *Vault) commit(group []*request) []error {
	results := make([]error, len(group))
	err := v.use(func(f *file) error { return f.write(group, results) })
	if errors.Is(err, ErrFull) && len(group) > 1 {
		for i, r := range group {
			results[i] = v.commit([]*request{r})[0]
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
