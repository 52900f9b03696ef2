package kcm

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"gosssd/kcm/protocol"
)

// collection is all caches of one user. Readers use the published state and
// never wait. Changes are made one after the other under mu, which is held
// until they are committed.
type collection struct {
	uid   uint32
	users *users

	published  atomic.Pointer[state] // nil: not in memory
	used       atomic.Bool           // since the last idle check
	lent       atomic.Bool           // it was loaded to be looked at, and no client has come since
	idleChecks int                   // in a row; of the maintenance goroutine
	known      uint64                // of the maintenance goroutine: caches with a lower seq were there at the last purge
	due        atomic.Int64          // when to look for expired tickets, while not in memory; 0: not known
	left       atomic.Pointer[usage] // what there was when it left memory; nil: it was never there
	requests   atomic.Uint64         // of the user
	unserved   atomic.Uint64         // of these, refused or failed

	mu       turn    // held by the one who loads or commits
	resident int64   // weight of what is published; guarded by mu
	loadErr  failure // the last of each kind; guarded by mu
	writeErr failure
	steps    *stopwatch // of the change that has its turn; nil where nobody asks

	queue   sync.Mutex
	waiting []*waiting

	naming      sync.Mutex
	lastName    uint32 // number in the last name that newName returned; 0: none yet
	firstNumber uint32 // the number before that in the first name
}

// waiting is a change that waits for its turn.
type waiting struct {
	change func(*edit) error
	came   time.Time
	done   bool // with err; guarded by collection.mu
	err    error

	refusal error // on top of changes that are not committed yet; nil if it is one of them
}

// failure is what became of the last attempt to load or to commit. Those who
// waited for that attempt fail with it: if each tried for itself, a store that
// hangs would let the tenth wait ten times as long as the first.
type failure struct {
	at  time.Time
	err error
}

// long is how long somebody must have waited to fail with another. Failures
// that come at once cost nothing to try again, and may be of one change only.
const long = time.Second

// of returns the error that whoever came at a time fails with, or nil.
func (f *failure) of(came time.Time) error {
	if f.err == nil || f.at.Sub(came) < long {
		return nil
	}
	return f.err
}

// view returns the state as of now. Only the first request of a user that is
// not in memory waits for the store.
func (c *collection) view(ctx context.Context) (*state, error) {
	if !c.used.Load() {
		c.used.Store(true)
		c.lent.Store(false)
	}
	return c.current(ctx)
}

// current is view without counting as use.
func (c *collection) current(ctx context.Context) (*state, error) {
	if s := c.published.Load(); s != nil {
		return s, nil
	}
	came := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.loadErr.of(came); err != nil && c.published.Load() == nil {
		return nil, err
	}
	return c.load(ctx)
}

// load returns the published state, or reads it from the store. The caller
// holds mu.
func (c *collection) load(ctx context.Context) (*state, error) {
	if s := c.published.Load(); s != nil {
		return s, nil
	}
	s, damaged, err := c.users.read(ctx, c.uid)
	if err != nil {
		c.loadErr = failure{time.Now(), &unreadable{err}}
		return nil, c.loadErr.err
	}
	c.loadErr = failure{}
	s.uid = c.uid
	c.left.Load().comeBack(s)
	for _, d := range damaged {
		c.users.log.Error("a damaged record is left alone", "uid", c.uid, "record", d.key, "error", d.err)
	}
	c.users.census.count(c.uid, len(s.caches), 0)
	c.users.chowned.learn(c.uid, s)
	c.publish(s)
	return s, nil
}

// publish shows readers a new state; nil drops the present one from memory.
// The caller holds mu.
func (c *collection) publish(s *state) {
	if before := c.published.Swap(s); before != nil && s == nil {
		c.left.Store(before.leave())
	}
	if s != nil && c.users.learn != nil {
		c.users.learn(c.uid, s)
	}
	weight := s.weight()
	resident := c.users.resident.Add(weight - c.resident)
	c.resident = weight
	if resident > residentLimit {
		select {
		case c.users.crowded <- struct{}{}:
		default:
		}
	}
}

// apply makes one change. It returns when the change is durable, or with the
// reason why it was not made. Changes that arrive while another is being
// committed wait, and are then committed together by the first of them. They
// are made in order, and one that is refused does not affect the others.
func (c *collection) apply(ctx context.Context, change func(*edit) error) error {
	w := &waiting{change: change, came: time.Now()}
	c.queue.Lock()
	c.waiting = append(c.waiting, w)
	c.queue.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.steps = c.users.watch(w.came)
	c.steps.lap("waited")
	defer c.logSteps(w)
	if !w.done {
		c.queue.Lock()
		batch := c.waiting
		c.waiting = nil
		c.queue.Unlock()
		if batch = c.notFailed(batch); len(batch) > 0 {
			c.commitBatch(ctx, batch)
		}
	}
	return w.err
}

// changeCache applies a change to the cache with this UUID.
func (c *collection) changeCache(ctx context.Context, id protocol.UUID, f func(*edit, *cache) error) error {
	return c.apply(ctx, func(e *edit) error {
		cache := e.byID(id)
		if cache == nil {
			return errNoCache
		}
		return f(e, cache)
	})
}

// notFailed returns the changes of a batch that did not wait for an attempt
// that failed; the others fail with it.
func (c *collection) notFailed(batch []*waiting) (rest []*waiting) {
	for _, w := range batch {
		if err := cmp.Or(c.loadErr.of(w.came), c.writeErr.of(w.came)); err != nil {
			finish([]*waiting{w}, err)
		} else {
			rest = append(rest, w)
		}
	}
	return rest
}

// maxStale bounds how often a batch is decided anew because somebody else has
// loaded the records.
const maxStale = 3

// commitBatch decides and commits a batch of changes. The caller holds mu.
func (c *collection) commitBatch(ctx context.Context, batch []*waiting) {
	left, err := batch, error(nil)
	for attempt := 0; attempt == 0 || isStale(err) && attempt < maxStale; attempt++ {
		var base *state
		if base, err = c.load(ctx); err != nil {
			break
		}
		c.steps.lap("load")
		var sum *edit
		sum, left = c.draft(base, left)
		c.steps.lap("decide")
		err = c.commit(ctx, sum)
		c.steps.lap("commit")
	}
	switch {
	case err == nil:
		for _, w := range left {
			finish([]*waiting{w}, w.refusal)
		}
	case (isQuota(err) || saysFull(err)) && len(left) > 1:
		// One change asks for too much. The others are committed without it.
		for i := range left {
			c.commitBatch(ctx, left[i:i+1])
		}
	default:
		finish(left, err)
	}
}

// draft applies the changes of a batch one after the other. One that is refused
// is finished here if none was made before it. If others were, it may have been
// refused because of them, and they may fail: its refusal counts when they are
// committed. It and those that are to be committed are returned.
func (c *collection) draft(base *state, batch []*waiting) (sum *edit, left []*waiting) {
	sum = newEdit(base)
	made := false
	for _, w := range batch {
		attempt := sum.fork()
		w.refusal = w.change(attempt)
		if w.refusal != nil {
			c.users.census.release(attempt.reserved)
			if !made {
				finish([]*waiting{w}, w.refusal)
				continue
			}
		} else {
			sum.join(attempt)
			made = true
		}
		left = append(left, w)
	}
	return sum, left
}

func finish(batch []*waiting, err error) {
	for _, w := range batch {
		w.done, w.err = true, err
	}
}

// commit writes a change to the store and publishes it. The caller holds mu.
func (c *collection) commit(ctx context.Context, e *edit) error {
	if len(e.records) == 0 {
		return nil
	}
	store, err := c.users.store()
	began := time.Now()
	if err == nil {
		err = store.Commit(ctx, c.uid, e.records)
		c.users.logCommit(c.uid, e.records, began, err)
	}
	if err != nil {
		c.users.failedCommits.Add(1)
		c.users.census.release(e.reserved)
		err = &unwritten{err}
		if !wroteNothing(err) {
			// It may have been written: the next request must load it again.
			c.publish(nil)
			c.writeErr = failure{time.Now(), err}
		}
		return err
	}
	c.writeErr = failure{}
	c.users.commits.Add(time.Since(began))
	c.users.census.count(c.uid, len(e.caches), e.reserved)
	published := e.state
	c.publish(&published)
	for _, gone := range e.purged {
		c.users.logPurged(c.uid, gone)
	}
	for _, ev := range e.events {
		name, principal := ev.cache.texts()
		c.users.signal(ev.member, c.uid, name, principal)
	}
	c.users.tell(c.uid, e)
	return nil
}

// firstNames bounds the number that a user's first new name gets. It is
// chosen at random so that names differ from those of an earlier process.
const firstNames = 100000

// newName returns a name that no cache of the user has and that this process
// has not returned before.
func (c *collection) newName(s *state, random io.Reader) (string, error) {
	c.naming.Lock()
	defer c.naming.Unlock()
	if c.lastName == 0 {
		var b [4]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", fmt.Errorf("random number for a name: %w", err)
		}
		c.lastName = binary.BigEndian.Uint32(b[:]) % firstNames
		c.firstNumber = c.lastName
	}
	for {
		c.lastName++
		name := strconv.AppendUint(nil, uint64(c.uid), 10)
		name = append(name, ':')
		name = strconv.AppendUint(name, uint64(c.lastName), 10)
		if s.byName(name) == nil {
			return string(name), nil
		}
	}
}

// generated reports whether newName has returned this name.
func (c *collection) generated(name []byte) bool {
	n, numbered := numberOf(c.uid, name)
	c.naming.Lock()
	defer c.naming.Unlock()
	return numbered && c.firstNumber < n && n <= c.lastName
}
