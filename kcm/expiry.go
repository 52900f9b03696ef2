package kcm

import (
	"math"
	"time"
)

// When a cache goes.
//
// A cache lives as long as its ticket-granting ticket, or, without one, its
// longest service ticket. Every other ticket goes when it has expired. Of the
// cache itself the owner still learns whose it was until a grace is over. Only
// a cache with a generated name, which nobody can name again, goes at once if
// the owner has a valid one of the same principal: it would mislead those who
// look for tickets of that principal.
//
// The default never goes, for another would take its place. A valid cache of
// the same principal that was made in the same way, for whoever asks for no
// cache by name, takes over. Without one the default is emptied after the
// grace, and its header says for ever whose it was.

const never = math.MaxInt64

// endedAt stands for when an emptied cache has expired: long ago.
const endedAt = 0

// ends returns when a credential expires by the clock of this machine.
func (c *cache) ends(cred *credential) int64 {
	if cred.Times.End == 0 || cred.Server.IsConfig() {
		return never
	}
	return int64(cred.Times.End) - int64(c.offset)
}

// lifeline returns the credential that the cache lives by, and when it ends;
// nil if there is none.
func (c *cache) lifeline() (line *credential, end int64) {
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

// stale reports whether cred can go while the cache stays.
func (c *cache) stale(line *credential, now int64) func(*credential) bool {
	return func(cred *credential) bool { return cred != line && c.ends(cred) < now }
}

// whose returns the principal without its name type, for comparing.
func (c *cache) whose() string {
	const nameType = 4
	if c.principal == nil {
		return ""
	}
	return string(c.principal[nameType:])
}

// unnamed reports whether clients come to the cache without having asked for
// it by its name.
func (s *state) unnamed(c *cache) bool {
	var bare [10]byte
	return c.generated || c.name == string(firstName(bare[:0], s.uid))
}

// brokenOff reports whether a login has begun the cache and not gone on. If it
// does after all, its INITIALIZE makes the cache again.
func (c *cache) brokenOff() bool { return c.principal == nil && len(c.entries) == 0 }

// latest returns, by principal, when the last of the user's caches that has
// tickets expires; of all caches, or of the unnamed ones.
func (s *state) latest(unnamed bool) map[string]int64 {
	latest := map[string]int64{}
	for _, c := range s.caches {
		if line, end := c.lifeline(); line != nil && c.principal != nil && (!unnamed || s.unnamed(c)) {
			latest[c.whose()] = max(latest[c.whose()], end)
		}
	}
	return latest
}

// heir returns the valid cache that takes over from the default d, or nil.
func (s *state) heir(d *cache, now int64) (heir *cache) {
	if d.principal == nil || !s.unnamed(d) {
		return nil
	}
	last := int64(0)
	for _, c := range s.caches {
		line, end := c.lifeline()
		if c != d && line != nil && end >= now && end > last && s.unnamed(c) && c.whose() == d.whose() {
			heir, last = c, end
		}
	}
	return heir
}

// handOver makes another cache the default if that has expired by now and
// leaves an heir, and returns the default.
func (e *edit) handOver(now int64) *cache {
	d := e.defaultCache()
	if d == nil {
		return nil
	}
	if _, end := d.lifeline(); end < now {
		if heir := e.heir(d, now); heir != nil {
			e.choose(heir)
			return heir
		}
	}
	return d
}

// purge removes what has expired by now.
func (e *edit) purge(now int64, grace time.Duration) {
	gone := purged{why: "expired"}
	kept := e.handOver(now)
	latest := e.latest(false)
	for _, c := range e.caches {
		line, end := c.lifeline()
		over := end < now && end+seconds(grace) < now
		switch {
		case c == kept && c.ended:
		case c == kept && over:
			gone.cache(c)
			e.end(c)
		case over || end < now && c != kept && c.generated && latest[c.whose()] >= now:
			gone.cache(c)
			e.remove(c)
		default:
			if next, dropped := e.drop(c, c.stale(line, now)); dropped > 0 {
				gone.tickets(c, dropped)
				e.tell(changed, next)
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
	e.tell(changed, next)
}

// purgeCaches removes every cache that has expired, without grace, and those
// of logins that broke off, for the sake of a limit. The default stays, if
// another would take its place. It returns how many caches went.
func (e *edit) purgeCaches(now int64, limit string) int {
	gone := purged{why: limit}
	kept := e.handOver(now)
	for _, c := range e.caches {
		if _, end := c.lifeline(); c != kept && (end < now || c.brokenOff()) {
			gone.cache(c)
			e.remove(c)
		}
	}
	if kept != nil && len(e.caches) == 1 {
		if _, end := kept.lifeline(); end < now || kept.brokenOff() {
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
		line, end := c.lifeline()
		last, early := latest[c.whose()], c.generated
		if c == d {
			last, early = unnamed[c.whose()], s.unnamed(c)
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
