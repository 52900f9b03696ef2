package kcm

import (
	"context"
	"slices"
	"time"
)

// makeRoom makes room for a cache of a principal, which is nil where that is
// not known yet, or says which limit is reached. It reserves a cache with the
// limit on those of all users. supersede is whether, for the sake of that one,
// an earlier login's cache may go. heir reports that the default had to go and
// that the new cache takes its place.
func (s *Server) makeRoom(e *edit, principal []byte, supersede bool) (heir bool, err error) {
	if heir, err = s.makeUserRoom(e, principal); err != nil {
		return false, err
	}
	limit := s.settings.Load().maxCaches
	if limit == 0 {
		return heir, nil
	}
	if s.users.census.reserve(limit) {
		e.reserved++
		return heir, nil
	}
	if old := e.superseded(principal, true); supersede && old != nil {
		return e.yield(old, "max_ccaches") || heir, nil
	}
	return false, errFull
}

// makeUserRoom does so for the limit on the caches of one user. What goes first
// is of the least use: what has expired, then the oldest login of the same
// principal (SSSD issue 7105), and only then a default that has expired.
func (s *Server) makeUserRoom(e *edit, principal []byte) (heir bool, err error) {
	const why = "max_uid_ccaches"
	limit := s.settings.Load().maxUserCaches
	if limit == 0 || len(e.caches) < limit {
		return false, nil
	}
	now := s.clock.likely(s.lookOfClocks())
	e.dropBrokenOff(why)
	for len(e.caches) >= limit {
		victim := e.firstExpired(now)
		if victim == nil {
			victim = e.superseded(principal, false)
		}
		if victim == nil {
			victim = e.expiredDefault(now)
		}
		if victim == nil {
			victim = e.superseded(principal, true)
		}
		if victim == nil {
			return false, errUserFull
		}
		heir = e.yield(victim, why) || heir
	}
	return heir, nil
}

// yield removes a cache for the sake of a limit and reports whether it was the
// default.
func (e *edit) yield(c *cache, limit string) (wasDefault bool) {
	wasDefault = e.defaultCache() == c
	gone := purged{why: limit}
	gone.cache(c)
	e.remove(c)
	e.note(gone)
	return wasDefault
}

// dropBrokenOff removes the caches of logins that broke off.
func (e *edit) dropBrokenOff(limit string) {
	gone := purged{why: limit}
	for _, c := range e.caches {
		if c.brokenOff() {
			gone.cache(c)
			e.remove(c)
		}
	}
	e.note(gone)
}

// firstExpired returns the cache that expired first, if any has: of those that
// nobody can name again if there are such, and never the default.
func (e *edit) firstExpired(now int64) (first *cache) {
	d := e.handOver(now)
	firstEnd := int64(0)
	for _, c := range e.caches {
		_, end := c.lifeline()
		if c == d || end >= now {
			continue
		}
		if first == nil || c.generated && !first.generated || c.generated == first.generated && end < firstEnd {
			first, firstEnd = c, end
		}
	}
	return first
}

// superseded returns the oldest cache of an earlier login of a principal; where
// that is not known, of any of whom there is a later one, too. The default is
// one only if that is allowed.
func (e *edit) superseded(principal []byte, allowDefault bool) *cache {
	d := e.defaultCache()
	whose := (&cache{principal: principal}).whose()
	for i, c := range e.caches {
		if !c.generated || c.principal == nil || c == d && !allowDefault {
			continue
		}
		later := func(other *cache) bool { return other.generated && other.whose() == c.whose() }
		if principal != nil && c.whose() == whose || principal == nil && slices.ContainsFunc(e.caches[i+1:], later) {
			return c
		}
	}
	return nil
}

// expiredDefault returns the default if it has expired.
func (e *edit) expiredDefault(now int64) *cache {
	if d := e.defaultCache(); d != nil {
		if _, end := d.lifeline(); end < now {
			return d
		}
	}
	return nil
}

// fit returns c as it fits into the limits on sizes: if need be without
// tickets that have expired. A user who has too much already, since a limit was
// lowered, may still make it less.
func (s *Server) fit(e *edit, c *cache) (*cache, error) {
	if s.tooBig(e, c) == nil {
		return c, nil
	}
	now := s.clock.likely(s.lookOfClocks())
	for _, one := range e.caches {
		line, _ := one.lifeline()
		one, _ = e.drop(one, one.stale(line, now))
		if one.id == c.id {
			c = one
		}
	}
	return c, s.tooBig(e, c)
}

// tooBig says which limit on sizes c, or all that its owner would have, exceeds.
func (s *Server) tooBig(e *edit, c *cache) error {
	set := s.settings.Load()
	switch {
	case set.maxCacheSize > 0 && c.size > set.maxCacheSize:
		return errCacheTooBig
	case set.maxCredentials > 0 && len(c.entries) > set.maxCredentials:
		return errTooManyCreds
	}
	before, after := e.base.weight(), e.weight()
	switch {
	case after <= before:
		return nil
	case set.maxUserSize > 0 && after > set.maxUserSize:
		return errUserTooBig
	case after > modest && s.users.volatile() && s.users.resident.Load()+after-before > residentLimit:
		return errMemoryFull
	}
	return nil
}

// takeCensus counts the caches of all users, if there is a limit on them and
// that has not been done.
func (s *Server) takeCensus(ctx context.Context) error {
	census := &s.users.census
	if s.settings.Load().maxCaches == 0 {
		return nil
	}
	if census.isComplete() {
		for _, uid := range census.due() {
			if err := s.count(ctx, s.users.of(uid)); err != nil {
				return err
			}
		}
		return nil
	}
	everyone, err := s.users.everyone(ctx)
	if err != nil {
		return err
	}
	for _, c := range everyone {
		if err := s.count(ctx, c); err != nil {
			return err
		}
	}
	census.completed()
	return nil
}

// count counts the caches of one user, or leaves him out if his records cannot
// be read. An error that took long is not his but that of a store that hangs,
// and would be the same for all others.
func (s *Server) count(ctx context.Context, c *collection) error {
	began := time.Now()
	err := s.look(ctx, c, func(*state) error { return nil })
	if err == nil || time.Since(began) >= long {
		return err
	}
	s.users.log.Error("a user's caches are not counted for max_ccaches", "uid", c.uid, "error", err)
	s.users.census.leaveOut(c.uid)
	return nil
}
