package kcm

import (
	"math"
	"time"
)

// When a cache goes.
//
// A cache lives as long as its ticket-granting ticket, or, without one, its
// longest service ticket. Every other ticket goes when it has expired. Of the
// cache itself the owner still learns whose it was until a grace is over,
// unless the owner has a valid cache of the same principal: then the expired
// one only misleads those who look for tickets of that principal.

const never = math.MaxInt64

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
	if line == nil {
		end = never
	}
	return line, end
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

// valid returns the principals of which the user has a cache that has tickets
// and is not expired.
func (s *state) valid(now int64) map[string]bool {
	valid := map[string]bool{}
	for _, c := range s.caches {
		if line, end := c.lifeline(); line != nil && end >= now && c.principal != nil {
			valid[c.whose()] = true
		}
	}
	return valid
}

// purge removes what has expired by now.
func (e *edit) purge(now int64, grace time.Duration) {
	valid := e.valid(now)
	for _, c := range e.caches {
		line, end := c.lifeline()
		if end < now && (valid[c.whose()] || end+seconds(grace) < now) {
			e.remove(c)
		} else if next, dropped := e.drop(c, c.stale(line, now)); dropped > 0 {
			e.tell(changed, next)
		}
	}
}

// purgeCaches removes every cache that has expired, without grace, and those
// that a login has begun and then broken off: without principal and tickets.
// If it goes on after all, its INITIALIZE makes the cache again.
func (e *edit) purgeCaches(now int64) (removed int) {
	for _, c := range e.caches {
		if _, end := c.lifeline(); end < now || c.principal == nil && len(c.entries) == 0 {
			e.remove(c)
			removed++
		}
	}
	return removed
}

// nextPurge returns when purge will next find something to remove; never, if
// nothing ever expires.
func (s *state) nextPurge(now int64, grace time.Duration) int64 {
	valid := s.valid(now)
	owned := map[string]int{}
	for _, c := range s.caches {
		owned[c.whose()]++
	}
	next := int64(never)
	for _, c := range s.caches {
		line, end := c.lifeline()
		misleads := valid[c.whose()] && (end < now || owned[c.whose()] > 1)
		if end != never && !misleads {
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
