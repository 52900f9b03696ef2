package kcm

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"
)

// A collection that was not used between as many checks leaves memory. One that is
// more than modest does so sooner: it would keep much memory for one user.
const (
	idleCheckInterval = time.Minute
	idleChecks        = 5
	idleChecksOfLarge = 1
)

// maintain purges and evicts at their times, until ctx ends. The first purge comes
// after interval, when its timer fires.
func (s *Server) maintain(ctx context.Context, interval time.Duration, purge *time.Timer) {
	s.logLeftBehind(ctx)
	check := time.NewTicker(idleCheckInterval)
	defer check.Stop()
	for {
		select {
		case <-ctx.Done():
			purge.Stop()
			return
		case <-check.C:
			s.forgetTraveller()
			s.giveBack(s.evictIdle())
		case <-purge.C:
			s.purgeExpired(ctx)
			purge = s.schedule(interval)
		case <-s.reloaded:
			if fresh := s.settings.Load().purgeInterval; fresh != interval {
				purge.Stop()
				interval, purge = fresh, s.schedule(fresh)
			}
		}
	}
}

// schedule returns the timer of the next purge; with interval 0 it never fires.
func (s *Server) schedule(interval time.Duration) *time.Timer {
	if interval == 0 {
		s.purgeAt.Store(never)
		timer := time.NewTimer(time.Hour)
		timer.Stop()
		return timer
	}
	s.purgeAt.Store(s.now().Add(interval).Unix())
	return time.NewTimer(interval)
}

// purgeIsDue reports whether the next purge will find something to remove at a
// user who was served by this process.
func (s *Server) purgeIsDue() bool {
	at := s.purgeAt.Load()
	if at == never {
		return false
	}
	now, grace := s.now().Unix(), s.settings.Load().purgeGrace
	for _, c := range s.users.all() {
		due := c.due.Load()
		if state := c.published.Load(); state != nil {
			due = state.nextPurge(now, grace)
		}
		if due != 0 && due < at {
			return true
		}
	}
	return false
}

// purgeExpired removes what has expired at every user.
func (s *Server) purgeExpired(ctx context.Context) {
	everyone, err := s.users.everyone(ctx)
	if err != nil {
		s.users.log.Error("expired credentials stay", "error", err)
		return
	}
	now := s.clock.confirmed(s.clockInterval())
	s.logClockDoubt()
	if now == 0 {
		return
	}
	var worked time.Duration
	for _, c := range everyone {
		if c.published.Load() == nil && c.due.Load() > now {
			continue
		}
		began := time.Now()
		err := s.purgeUser(ctx, c, now)
		took := time.Since(began)
		if err != nil {
			s.users.log.Error("expired credentials stay", "uid", c.uid, "error", err)
			if took >= long {
				return // the store hangs, and would for each of the others
			}
		}
		if worked += took; worked >= purgeStretch {
			pause(ctx, purgeRest*worked)
			worked = 0
		}
	}
}

// A purge works for purgeStretch and then rests purgeRest times as long: nobody waits
// for it, and clients wait for the processors and the disk that it takes.
const (
	purgeStretch = time.Millisecond
	purgeRest    = 3
)

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (s *Server) purgeUser(ctx context.Context, c *collection, now int64) error {
	grace := s.settings.Load().purgeGrace
	return s.inspect(ctx, c, func(state *state) error {
		known := c.known
		c.known = state.nextCache
		if state.nextPurge(now, grace) >= now && !state.hasAbandoned(known) {
			return nil
		}
		return c.apply(ctx, func(e *edit) error {
			e.purge(now, grace, known)
			return nil
		})
	})
}

// clockInterval is the interval by which the wall clock is judged; where nothing
// is purged, as long as it is by default.
func (s *Server) clockInterval() time.Duration {
	if interval := s.settings.Load().purgeInterval; interval > 0 {
		return interval
	}
	return 10 * time.Minute
}

// logClockDoubt logs that the wall clock has come into doubt, and that it is out of it.
func (s *Server) logClockDoubt() {
	doubted := s.clock.doubted()
	switch {
	case doubted && !s.doubted:
		s.users.log.Warn("the wall clock has stepped forward: until it is confirmed nothing that expired by the step is removed", "now", s.now().Format(time.RFC3339))
	case !doubted && s.doubted:
		s.users.log.Warn("the wall clock is believed again", "now", s.now().Format(time.RFC3339))
	}
	s.doubted = doubted
}

// inspect shows f the state of a collection. One that was not in memory before
// does not stay there.
func (s *Server) inspect(ctx context.Context, c *collection, f func(*state) error) error {
	if c.published.Load() == nil {
		c.lent.Store(true)
	}
	state, err := c.current(ctx)
	if err != nil {
		return err
	}
	err = f(state)
	// Others may look at the same time: the last of them evicts.
	if c.lent.Load() && !c.used.Load() {
		s.evict(c)
	}
	return err
}

// evictIdle drops the collections that have been idle from memory, and reports
// whether there were any.
func (s *Server) evictIdle() (freed bool) {
	if s.users.volatile() {
		return false // there is no less of it elsewhere
	}
	for _, c := range s.users.all() {
		enough := idleChecks
		if c.published.Load().weight() > modest {
			enough = idleChecksOfLarge
		}
		if c.used.Swap(false) {
			c.idleChecks = 0
		} else if c.idleChecks++; c.idleChecks >= enough {
			freed = s.evict(c) || freed
		}
	}
	return freed
}

// notable is how much memory requests and replies must have taken, or caches
// given up, for it to be given back to the system.
const notable = 8 << 20

// giveBack gives free memory back to the system where there is some to speak
// of since the last time.
func (s *Server) giveBack(freed bool) {
	resident := s.users.resident.Load()
	freed = freed || s.memory.Peak() > notable || s.residentBefore-resident > notable
	s.residentBefore = resident
	s.spare.GiveBack(freed)
}

// keepSmall makes room when the caches in memory take too much, until ctx ends.
func (s *Server) keepSmall(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.users.crowded:
			s.makeSmall(residentLimit)
		}
	}
}

// makeSmall evicts the largest collections until what is in memory is an
// eighth below a limit, so that it is not called for each load. Users with few
// caches lose nothing by those with many.
func (s *Server) makeSmall(limit int64) {
	if s.users.volatile() {
		return
	}
	all := s.users.all()
	slices.SortFunc(all, func(a, b *collection) int {
		return cmp.Compare(b.published.Load().weight(), a.published.Load().weight())
	})
	for _, c := range all {
		if s.users.resident.Load() <= limit-limit/8 {
			return
		}
		s.evict(c)
	}
}

// evict drops a collection from memory, except for when it must be looked at
// again, and reports whether it did. One that is being changed stays.
func (s *Server) evict(c *collection) bool {
	if !c.mu.TryLock() {
		return false
	}
	defer c.mu.Unlock()
	state := c.published.Load()
	if state == nil {
		return false
	}
	due := state.nextPurge(s.now().Unix(), s.settings.Load().purgeGrace)
	if state.hasAbandoned(math.MaxUint64) {
		due = s.now().Unix()
	}
	c.due.Store(due)
	c.publish(nil)
	return true
}

// purgeEveryone removes the expired caches of all users, without grace, and
// reports whether there were any. It looks at most once a second, or a user
// who asks for one cache too many could keep it busy. Who waited for another's
// look is content with that.
func (s *Server) purgeEveryone(ctx context.Context) bool {
	came := time.Now()
	s.purgingAll.Lock()
	defer s.purgingAll.Unlock()
	now := s.clock.likely(s.clockInterval())
	if s.purgedAtSecond == now || s.purgedLast.After(came) {
		return s.purgedSome
	}
	s.purgedAtSecond, s.purgedSome = now, false
	defer func() { s.purgedLast = time.Now() }()
	everyone, err := s.users.everyone(ctx)
	if err != nil {
		s.users.log.Error("expired caches stay", "error", err)
		return false
	}
	for _, c := range everyone {
		began, gone := time.Now(), 0
		err := s.inspect(ctx, c, func(*state) error {
			return c.apply(ctx, func(e *edit) error {
				gone = e.purgeCaches(now, "max_ccaches")
				return nil
			})
		})
		if err != nil {
			s.users.log.Error("expired caches stay", "uid", c.uid, "error", err)
			if time.Since(began) >= long {
				break // the store hangs, and would for each of the others
			}
			continue
		}
		s.purgedSome = s.purgedSome || gone > 0
	}
	return s.purgedSome
}
