// Package hook tells a program of an administrator's choice what becomes of
// tickets: that a cache has a new ticket-granting ticket, that it was renewed,
// that it ends soon, and that the cache is gone.
//
// It compares what users have now with what they had, so that nothing is missed,
// however a change was made. Events of one cache that wait are made one. How
// many programs run at a time, and how many are started in a minute, is bounded
// for each user and in all; users take turns.
package hook

import (
	"context"
	"sync"
	"time"

	"gosssd/kcm/protocol"
)

// Kind says what has become of a ticket.
type Kind string

// The kinds of events, as the program is told them.
const (
	Created   Kind = "created"   // a cache has a new ticket-granting ticket
	Renewed   Kind = "renewed"   // it was renewed: its owner need not log in again
	Expiring  Kind = "expiring"  // it ends soon, and was not renewed
	Destroyed Kind = "destroyed" // the cache, which had one, is removed
)

// Event is what the program is told.
type Event struct {
	Kind      Kind
	UID       uint32 // of the cache's owner, as whom the program runs
	Cache     protocol.UUID
	Name      string // of the cache, without KCM:
	Principal string
	Expires   time.Time // when its ticket-granting ticket ends, or did
	first     bool      // nothing was told of the cache before
}

// Starter starts the program as the user of an event. Run returns when it has
// ended, which it makes it do when ctx ends.
type Starter interface {
	Run(ctx context.Context, e Event) error
}

// Log takes what an administrator can act on.
type Log interface {
	Failed(e Event, err error)
	// LeftOut is told of an event that no program is started for.
	LeftOut(e Event, why string)
}

// Options are those of sssd.conf.
type Options struct {
	Timeout time.Duration // of one program
	Root    bool          // events of root's caches start one as well
}

// How many programs run at a time and are started in a minute. One user's run
// one after the other, so that they see events in their order.
const (
	atOnce      = 16
	userMinute  = 30
	allMinute   = 1200
	farewell    = 2 * time.Second // for what waits when this process ends
	longestLook = time.Minute     // the wall clock may have been set meanwhile
)

// Counts are totals since the start.
type Counts struct {
	Run     uint64 // programs that have ended well
	Failed  uint64 // programs that could not be started, failed, or took too long
	LeftOut uint64 // events that no program was started for
	Waiting int    // events that wait now
}

// Hooks starts programs. Its methods may be called by many goroutines at once.
type Hooks struct {
	starter Starter
	log     Log
	options Options
	now     func() time.Time

	mu      sync.Mutex
	watch   *watch
	queue   *queue
	counts  Counts
	running int
	changed chan struct{} // has a value after something has changed
}

// New returns Hooks that know of no tickets.
func New(starter Starter, log Log, now func() time.Time, options Options) *Hooks {
	return &Hooks{starter: starter, log: log, options: options, now: now, watch: newWatch(), queue: newQueue(), changed: make(chan struct{}, 1)}
}

// Learn tells all caches that a user has now. What a user has when Learn is
// called for the first time is no event.
func (h *Hooks) Learn(uid uint32, caches []Cache) {
	if uid == 0 && !h.options.Root {
		return
	}
	h.mu.Lock()
	left := h.add(h.watch.learn(uid, caches, h.now()))
	h.mu.Unlock()
	h.tell(left)
	h.wake()
}

// leftOut is an event that no program is started for.
type leftOut struct {
	event Event
	why   string
}

// add puts events into the queue and returns those that it does not take. The
// caller holds mu.
func (h *Hooks) add(events []Event) (left []leftOut) {
	for _, e := range events {
		switch {
		case !plain(e.Name) || !plain(e.Principal):
			left = append(left, leftOut{e, "the name of the cache or the principal is longer than 1024 bytes, or is not plain text"})
		case !h.queue.add(e, h.now()):
			left = append(left, leftOut{e, "too many events wait"})
		}
	}
	h.counts.LeftOut += uint64(len(left))
	return left
}

func (h *Hooks) tell(left []leftOut) {
	for _, l := range left {
		h.log.LeftOut(l.event, l.why)
	}
}

func (h *Hooks) wake() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Owed reports whether there is something to be told of, now or later.
func (h *Hooks) Owed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.running > 0 || h.queue.waiting > 0 || h.watch.owed()
}

// Counts tells how it goes.
func (h *Hooks) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := h.counts
	counts.Waiting = h.queue.waiting
	return counts
}

// Run starts programs until ctx ends. It then gives those that wait or run a
// short time, and returns when none is left.
func (h *Hooks) Run(ctx context.Context) {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var programs sync.WaitGroup
	defer programs.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	ending := ctx.Done()
	var over <-chan time.Time
	for {
		wait := h.startAll(working, &programs)
		if ending == nil && h.idle() {
			return
		}
		timer.Reset(wait)
		select {
		case <-ending:
			ending, over = nil, time.After(farewell)
		case <-over:
			stop()
			h.giveUp()
			return
		case <-h.changed:
		case <-timer.C:
		}
	}
}

// startAll starts what may be started, and returns how long nothing else may be.
func (h *Hooks) startAll(ctx context.Context, programs *sync.WaitGroup) (wait time.Duration) {
	h.mu.Lock()
	left := h.add(h.watch.expiring(h.now()))
	defer func() { h.tell(left) }()
	defer h.mu.Unlock()
	for h.running < atOnce {
		e, found, pause := h.queue.take(h.now())
		if !found {
			return min(pause, h.watch.wait(h.now()), longestLook)
		}
		h.running++
		programs.Go(func() { h.start(ctx, e) })
	}
	return longestLook // the end of one of them wakes
}

// start runs one program to its end.
func (h *Hooks) start(ctx context.Context, e Event) {
	limited, cancel := context.WithTimeout(ctx, h.options.Timeout)
	err := h.starter.Run(limited, e)
	cancel()
	h.mu.Lock()
	h.running--
	h.queue.ended(e.UID)
	if err == nil {
		h.counts.Run++
	} else {
		h.counts.Failed++
	}
	h.mu.Unlock()
	if err != nil {
		h.log.Failed(e, err)
	}
	h.wake()
}

func (h *Hooks) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.running == 0 && h.queue.waiting == 0
}

// giveUp leaves out what waits when this process ends.
func (h *Hooks) giveUp() {
	h.mu.Lock()
	var left []leftOut
	for _, e := range h.queue.clear() {
		left = append(left, leftOut{e, "the server ends"})
	}
	h.counts.LeftOut += uint64(len(left))
	h.mu.Unlock()
	h.tell(left)
}
