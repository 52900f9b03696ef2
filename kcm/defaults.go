package kcm

import "gosssd/kcm/protocol"

// Which cache is the default.
//
// Users choose it: with kswitch, and with kinit or a login, which switch to the
// cache they have made. Nothing else moves it, or a user would suddenly be
// another principal. A cache that was chosen but never got a principal is what
// a login left behind that broke off. Until that is initialized the default
// before it stays in force.
//
// Where none was chosen, the default is the cache with the name UID, which is
// what the library asks for in an empty collection, or else the oldest one.

// defaultCache returns the default; nil if there is no cache at all.
func (s *state) defaultCache() *cache {
	chosen := s.byID(s.preferred)
	if chosen != nil && chosen.principal != nil {
		return chosen
	}
	if c := s.byID(s.previous); c != nil && c.principal != nil {
		return c
	}
	if c := s.unchosenDefault(); c != nil {
		return c
	}
	if chosen == nil && len(s.caches) > 0 {
		return s.caches[0]
	}
	return chosen
}

// unchosenDefault returns the initialized cache that is the default where none
// was chosen, or nil.
func (s *state) unchosenDefault() *cache {
	var bare [10]byte
	if c := s.byName(firstName(bare[:0], s.uid)); c != nil && c.principal != nil {
		return c
	}
	for _, c := range s.caches {
		if c.principal != nil {
			return c
		}
	}
	return nil
}

// choose makes c the default, as soon as it has a principal.
func (e *edit) choose(c *cache) {
	var previous protocol.UUID
	if now := e.defaultCache(); c.principal == nil && now != nil && now.id != c.id {
		previous = now.id
	}
	e.setDefault(c.id, previous)
}

// setDefault notes which cache was chosen and which one stays the default until
// that has a principal. Zero is none.
func (e *edit) setDefault(chosen, previous protocol.UUID) {
	e.preferred, e.previous = chosen, previous
	switch none := (protocol.UUID{}); {
	case chosen == none:
		e.records[defaultKey] = nil
	case previous == none:
		e.records[defaultKey] = chosen[:]
	default:
		e.records[defaultKey] = append(chosen[:], previous[:]...)
	}
}

// forgetChoice is for when the chosen cache c goes. The default before a cache
// that never had a principal is in force anyway, and stays so.
func (e *edit) forgetChoice(c *cache) {
	var previous protocol.UUID
	if c.principal == nil && e.byID(e.previous) != nil {
		previous = e.previous
	}
	e.setDefault(previous, protocol.UUID{})
}
