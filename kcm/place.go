package kcm

import (
	"context"

	"gosssd/kcm/logins"
	"gosssd/linux"
)

// place is where the client is among the login sessions of a cache's owner; of
// one request.
type place struct {
	logins.Place
	known bool           // it was looked for
	maker *linux.Process // the client, where it is not in a session and may come into one
}

// locate notes where the client is. It is looked at anew for each request,
// since a program that logs a user in is put into a session under way.
func (s *session) locate(uid uint32) {
	b := s.server.bound
	s.at = place{known: b != nil}
	if b == nil || s.process == nil {
		return
	}
	p, err := s.process()
	if err != nil {
		return // it has ended, or is in another PID namespace
	}
	s.at.Place = b.Place(p, uid)
	if s.at.User == (logins.Session{}) {
		s.at.maker = p
		return
	}
	p.Close()
}

// leave ends what locate began.
func (s *session) leave() {
	if s.at.maker != nil {
		s.at.maker.Close()
	}
	s.at = place{}
}

// ofSession returns the session that a new cache ends with; nil if with none.
func (s *session) ofSession() *logins.Session {
	if s.at.Session == (logins.Session{}) {
		return nil
	}
	session := s.at.Session
	return &session
}

// free frees a cache from its session, if the client initializes it from another
// place.
func (s *session) free(c *cache) *cache {
	if !s.at.known || c.session == nil || *c.session == s.at.Session || *c.session == s.at.User {
		return c
	}
	next := c.copy()
	next.session = nil
	return next
}

// made looks after what the request has made: the maker of a new cache, which
// may come into a session, and the default cache.
func (s *session) made(ctx context.Context, owner *collection, name []byte, isNew bool) {
	b := s.server.bound
	state := owner.published.Load()
	if b == nil || state == nil {
		return
	}
	c := state.byName(name)
	if c == nil {
		return
	}
	if isNew && c.generated && c.session == nil && s.at.maker != nil {
		b.await(owner.uid, c.id, s.at.maker)
		s.at.maker = nil
	}
	s.bindDefault(ctx, owner, state, c)
}

// bindDefault has the default cache end with the last session of its owner, if
// it is used from inside what he has running and is bound to nothing yet.
func (s *session) bindDefault(ctx context.Context, owner *collection, state *state, c *cache) {
	b := s.server.bound
	if b == nil || !b.lastToo || s.askedDefault || owner != s.own || c.session != nil || state.defaultCache() != c {
		return
	}
	s.askedDefault = true // once for a connection
	s.leave()
	s.locate(owner.uid)
	defer s.leave()
	user := s.at.User
	if user == (logins.Session{}) {
		return
	}
	err := owner.changeCache(ctx, c.id, func(e *edit, c *cache) error {
		if c.session == nil {
			e.bind(c, &user)
		}
		return nil
	})
	if err != nil {
		s.log.Warn("the default cache does not end with the last session", "uid", owner.uid, "error", err)
	}
}
