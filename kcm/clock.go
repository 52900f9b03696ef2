package kcm

import (
	"sync"
	"time"
)

// The time by which things expire.
//
// The wall clock of a machine may be wrong for a while: after it was set by
// hand, or after a suspend until the network is back. A ticket that has expired
// by a wrong clock may be valid, and a purge cannot be undone. So when the wall
// clock has advanced further than the monotonic clock (a step forward), the new
// time is used only after both have advanced evenly for some purge intervals.
// Until then the time continues from before the step.

// steps is how far the wall clock may advance beyond the monotonic clock between
// two readings without being doubted.
const steps = time.Minute

// confirmations is for how many purge intervals both clocks must advance evenly
// after a step.
const confirmations = 3

// clock tells the time by which things expire. Its methods may be called by many
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

// read compares the clocks. The caller holds mu.
func (c *clock) read(interval time.Duration) (monotonic time.Duration) {
	wall, monotonic := c.unix(), c.monotonic()
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
	return monotonic
}

// confirmed returns the time by which a purge may remove what has expired, in
// seconds since 1970; 0 if there is none yet. After a start that takes one
// interval.
func (c *clock) confirmed(interval time.Duration) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	monotonic := c.read(interval)
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
	monotonic := c.read(interval)
	return int64((c.trusted + monotonic - c.at) / time.Second)
}

// doubted reports whether the wall clock has stepped and is not believed.
func (c *clock) doubted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doubtful
}
