package kcm

import (
	"context"
	"slices"
	"time"
)

// makeRoom removes caches until one more is within the limits on their number,
// or returns the limit that is reached. The new cache is of a principal, which is
// nil if it is not known yet. It is reserved with the census of all users;
// supersede allows that the cache of an earlier login is removed for that
// limit. successor is true if the default was removed, so that the new cache
// must become the default.
func (s *Server) makeRoom(e *edit, principal []byte, supersede bool) (successor bool, err error) {
	if successor, err = s.makeUserRoom(e, principal); err != nil {
		return false, err
	}
	limit := s.settings.Load().maxCaches
	if limit == 0 {
		return successor, nil
	}
	if s.users.census.reserve(limit) {
		e.reserved++
		return successor, nil
	}
	if old := e.superseded(principal, true); supersede && old != nil {
		return e.removeFor(old, "max_ccaches") || successor, nil
	}
	return false, errFull
}

// makeUserRoom does this for the limit on the caches of one user. Expired caches
// are removed first, then the cache of the oldest login of the same principal
// (SSSD issue 7105), then the default, if it has expired.
func (s *Server) makeUserRoom(e *edit, principal []byte) (successor bool, err error) {
	const why = "max_uid_ccaches"
	limit := s.settings.Load().maxUserCaches
	if limit == 0 || len(e.caches) < limit {
		return false, nil
	}
	now := s.clock.likely(s.clockInterval())
	e.dropAbandoned(why)
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
		successor = e.removeFor(victim, why) || successor
	}
	return successor, nil
}

// removeFor removes a cache for the sake of a limit and reports whether it was the
// default.
func (e *edit) removeFor(c *cache, limit string) (wasDefault bool) {
	wasDefault = e.defaultCache() == c
	gone := purged{why: limit}
	gone.cache(c)
	e.remove(c)
	e.note(gone)
	return wasDefault
}

// dropAbandoned removes the caches of logins that broke off.
func (e *edit) dropAbandoned(limit string) {
	gone := purged{why: limit}
	for _, c := range e.caches {
		if c.abandoned() {
			gone.cache(c)
			e.remove(c)
		}
	}
	e.note(gone)
}

// firstExpired returns the cache that expired first, or nil. Caches with
// generated names come before others, and the default is never returned.
func (e *edit) firstExpired(now int64) (first *cache) {
	d := e.promoteSuccessor(now)
	firstEnd := int64(0)
	for _, c := range e.caches {
		_, end := c.lifetime()
		if c == d || end >= now {
			continue
		}
		if first == nil || c.generated && !first.generated || c.generated == first.generated && end < firstEnd {
			first, firstEnd = c, end
		}
	}
	return first
}

// superseded returns the cache of the oldest login of a principal, or nil. If the
// principal is not known it is one of which there is a later login too. The
// default is returned only if that is allowed.
func (e *edit) superseded(principal []byte, allowDefault bool) *cache {
	d := e.defaultCache()
	key := (&cache{principal: principal}).principalKey()
	for i, c := range e.caches {
		if !c.generated || c.principal == nil || c == d && !allowDefault {
			continue
		}
		later := func(other *cache) bool { return other.generated && other.principalKey() == c.principalKey() }
		if principal != nil && c.principalKey() == key || principal == nil && slices.ContainsFunc(e.caches[i+1:], later) {
			return c
		}
	}
	return nil
}

// expiredDefault returns the default if it has expired.
func (e *edit) expiredDefault(now int64) *cache {
	if d := e.defaultCache(); d != nil {
		if _, end := d.lifetime(); end < now {
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
	now := s.clock.likely(s.clockInterval())
	for _, one := range e.caches {
		line, _ := one.lifetime()
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
	err := s.inspect(ctx, c, func(*state) error { return nil })
	if err == nil || time.Since(began) >= long {
		return err
	}
	s.users.log.Error("a user's caches are not counted for max_ccaches", "uid", c.uid, "error", err)
	s.users.census.leaveOut(c.uid)
	return nil
}
