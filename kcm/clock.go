package kcm

import (
	"sync"
	"time"
)

// Time, as far as something is removed for its sake.
//
// The wall clock of a machine may be wrong for a while: it is set by hand, or
// comes back wrong from a suspend until the network is there. What has expired
// by it may be valid, and is not to be had back. So a step forward, which is
// when the wall clock has gone further than the monotonic one, counts only
// after the wall clock has kept step for some intervals of the purge. Until
// then time goes on from where it was.

// steps is how far the wall clock may go ahead in one look without being
// doubted.
const steps = time.Minute

// confirmations is for how many intervals of the purge a wall clock that has
// stepped must keep step before it is believed.
const confirmations = 3

// clock is the wall clock with its doubts. Its methods may be called by many
// goroutines at once.
type clock struct {
	wall      func() time.Time
	monotonic func() time.Duration

	mu       sync.Mutex
	trusted  time.Duration // of the wall clock, when it was last believed
	at       time.Duration // of the monotonic clock, then
	seen     time.Duration // of the wall clock, at the last look
	seenAt   time.Duration
	since    time.Duration // of the monotonic clock, when the wall clock last stepped, or at the start
	doubtful bool          // the wall clock has stepped forward and is not believed yet
	fresh    bool          // nothing but the start is known of it
}

func newClock(wall func() time.Time, monotonic func() time.Duration) *clock {
	c := &clock{wall: wall, monotonic: monotonic, fresh: true}
	c.trusted, c.at = c.unix(), monotonic()
	c.seen, c.seenAt, c.since = c.trusted, c.at, c.at
	return c
}

func (c *clock) unix() time.Duration { return time.Duration(c.wall().UnixNano()) }

// look compares the clocks. The caller holds mu.
func (c *clock) look(interval time.Duration) (wall, monotonic time.Duration) {
	wall, monotonic = c.unix(), c.monotonic()
	patience := interval
	if c.doubtful {
		patience *= confirmations
	}
	if ahead := (wall - c.seen) - (monotonic - c.seenAt); ahead > steps {
		c.doubtful, c.since = true, monotonic
	} else if monotonic-c.since >= patience {
		c.doubtful, c.fresh = false, false
	}
	if c.doubtful && wall <= c.trusted+(monotonic-c.at)+steps {
		c.doubtful = false // it has stepped back
	}
	if !c.doubtful {
		c.trusted, c.at = wall, monotonic
	}
	c.seen, c.seenAt = wall, monotonic
	return wall, monotonic
}

// confirmed returns the time by which a purge may remove what has expired, in
// seconds since 1970; 0 if there is none yet. After a start that takes one
// interval.
func (c *clock) confirmed(interval time.Duration) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, monotonic := c.look(interval)
	if c.fresh {
		return 0
	}
	return int64((c.trusted + monotonic - c.at) / time.Second)
}

// likely returns the time by which something that has expired makes room for
// what is new: that of the wall clock, unless it was seen to step.
func (c *clock) likely(interval time.Duration) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, monotonic := c.look(interval)
	return int64((c.trusted + monotonic - c.at) / time.Second)
}

// doubted reports whether the wall clock has stepped and is not believed.
func (c *clock) doubted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doubtful
}
