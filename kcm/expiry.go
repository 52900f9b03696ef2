package kcm

import (
	"math"
	"slices"
	"time"
)

// When caches and credentials are removed.
//
// A cache expires with its ticket-granting ticket or, if it has none, with the
// service ticket that lasts longest. All other tickets are removed when they
// expire. The cache itself is removed after a grace period, so that kinit can
// ask for the same principal again. A cache with a generated name is removed at
// once if the user has a valid one of the same principal: nobody will use its
// name again, and programs that look for tickets of the principal may find it
// instead of the valid one.
//
// The default cache is not removed, since another cache would become the
// default and the user would be another principal. If there is a valid cache of
// the same principal, and neither of the two was named by the user, that one
// becomes the default. Otherwise the default is emptied after the grace period
// and its header stays.

const never = math.MaxInt64

// endedAt is the time at which an emptied cache counts as expired: long ago.
const endedAt = 0

// ends returns when a credential expires by the clock of this machine.
func (c *cache) ends(cred *credential) int64 {
	if cred.Times.End == 0 || cred.Server.IsConfig() {
		return never
	}
	return int64(cred.Times.End) - int64(c.offset)
}

// lifetime returns the credential with which the cache expires, and when; nil
// and never if it has no tickets.
func (c *cache) lifetime() (line *credential, end int64) {
	isTGT := false
	for i := range c.entries {
		cred := c.entries[i].credential
		if cred.Server.IsConfig() {
			continue
		}
		tgt := cred.Server.IsTGS() && string(cred.Server.Realm) == string(cred.Client.Realm)
		better := line == nil || tgt && !isTGT || tgt == isTGT && c.ends(cred) > end
		if better {
			line, end, isTGT = cred, c.ends(cred), tgt
		}
	}
	switch {
	case line != nil:
		return line, end
	case c.ended:
		return nil, endedAt
	}
	return nil, never
}

// stale returns whether a credential has expired and is not the one that the
// lifetime of the cache depends on.
func (c *cache) stale(line *credential, now int64) func(*credential) bool {
	return func(cred *credential) bool { return cred != line && c.ends(cred) < now }
}

// principalKey returns the principal without its name type, for comparing.
func (c *cache) principalKey() string {
	const nameType = 4
	if c.principal == nil {
		return ""
	}
	return string(c.principal[nameType:])
}

// unnamed reports whether the name of the cache was not chosen by the user: it
// comes from GEN_NEW or is the bare UID.
func (s *state) unnamed(c *cache) bool {
	var bare [10]byte
	return c.generated || c.name == string(firstName(bare[:0], s.uid))
}

// abandoned reports whether a login has created the cache and not initialized
// it. If the login continues, its INITIALIZE creates the cache again.
func (c *cache) abandoned() bool { return c.principal == nil && len(c.entries) == 0 }

// latest returns, by principal, when the last of the user's caches that has
// tickets expires; of all caches, or of the unnamed ones.
func (s *state) latest(unnamed bool) map[string]int64 {
	latest := map[string]int64{}
	for _, c := range s.caches {
		if line, end := c.lifetime(); line != nil && c.principal != nil && (!unnamed || s.unnamed(c)) {
			latest[c.principalKey()] = max(latest[c.principalKey()], end)
		}
	}
	return latest
}

// successor returns the valid cache that takes over from the default d, or nil.
func (s *state) successor(d *cache, now int64) (successor *cache) {
	if d.principal == nil || !s.unnamed(d) {
		return nil
	}
	last := int64(0)
	for _, c := range s.caches {
		line, end := c.lifetime()
		if c != d && line != nil && end >= now && end > last && s.unnamed(c) && c.principalKey() == d.principalKey() {
			successor, last = c, end
		}
	}
	return successor
}

// promoteSuccessor makes the successor of the default the default, if that has
// expired and has one. It returns the default then in force.
func (e *edit) promoteSuccessor(now int64) *cache {
	d := e.defaultCache()
	if d == nil {
		return nil
	}
	if _, end := d.lifetime(); end < now {
		if successor := e.successor(d, now); successor != nil {
			e.choose(successor)
			return successor
		}
	}
	return d
}

// hasAbandoned reports whether there is an abandoned cache with a seq below known.
func (s *state) hasAbandoned(known uint64) bool {
	return slices.ContainsFunc(s.caches, func(c *cache) bool { return c.seq < known && c.abandoned() })
}

// purge removes what has expired by now, and what logins have abandoned. A login
// may be under way, so of these it removes only those with a seq below known:
// they were there at the last purge.
func (e *edit) purge(now int64, grace time.Duration, known uint64) {
	gone := purged{why: "expired"}
	kept := e.promoteSuccessor(now)
	latest := e.latest(false)
	for _, c := range e.caches {
		line, end := c.lifetime()
		over := end < now && end+seconds(grace) < now
		switch {
		case c.seq < known && c.abandoned():
			gone.cache(c)
			e.remove(c)
		case c == kept && c.ended:
		case c == kept && over:
			gone.cache(c)
			e.end(c)
		case over || end < now && c != kept && c.generated && latest[c.principalKey()] >= now:
			gone.cache(c)
			e.remove(c)
		default:
			if next, dropped := e.drop(c, c.stale(line, now)); dropped > 0 {
				gone.tickets(c, dropped)
				e.notify(changed, next)
			}
		}
	}
	e.note(gone)
}

// end empties an expired cache and keeps its header.
func (e *edit) end(c *cache) {
	next := e.empty(c)
	next.ended = true
	e.header(next)
	e.notify(changed, next)
}

// purgeCaches removes every cache that has expired, without grace, and those
// of logins that broke off, for the sake of a limit. The default stays, if
// another would take its place. It returns how many caches went.
func (e *edit) purgeCaches(now int64, limit string) int {
	gone := purged{why: limit}
	kept := e.promoteSuccessor(now)
	for _, c := range e.caches {
		if _, end := c.lifetime(); c != kept && (end < now || c.abandoned()) {
			gone.cache(c)
			e.remove(c)
		}
	}
	if kept != nil && len(e.caches) == 1 {
		if _, end := kept.lifetime(); end < now || kept.abandoned() {
			gone.cache(kept)
			e.remove(kept)
		}
	}
	e.note(gone)
	return gone.caches
}

// nextPurge returns when purge will next find something to remove; never, if
// nothing ever expires.
func (s *state) nextPurge(now int64, grace time.Duration) int64 {
	latest, unnamed := s.latest(false), s.latest(true)
	d := s.defaultCache()
	next := int64(never)
	for _, c := range s.caches {
		line, end := c.lifetime()
		last, early := latest[c.principalKey()], c.generated
		if c == d {
			last, early = unnamed[c.principalKey()], s.unnamed(c)
		}
		early = early && last > end && last >= now
		switch {
		case c == d && c.ended && !early:
			end = never
		case end != never && !early:
			end += seconds(grace)
		}
		next = min(next, end)
		for i := range c.entries {
			if cred := c.entries[i].credential; cred != line {
				next = min(next, c.ends(cred))
			}
		}
	}
	return next
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }
