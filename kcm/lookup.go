package kcm

import (
	"context"
	"errors"
)

// nameParam reads the name that comes first in most requests.
func (s *session) nameParam(ctx context.Context) []byte {
	s.name = s.cacheName(ctx)
	return s.name
}

// cacheName reads the name of a cache. An empty one is what Heimdal 7 sends
// for "KCM:" and means the default cache.
func (s *session) cacheName(ctx context.Context) []byte {
	name := s.in.Name()
	if len(name) == 0 && s.in.Err() == nil {
		return s.appendDefaultName(ctx, nil)
	}
	return name
}

// appendDefaultName appends the name of the client's default cache. Without
// caches it is the name that a first one should get; the same where they cannot
// be read, since the operation will then fail and report it.
func (s *session) appendDefaultName(ctx context.Context, b []byte) []byte {
	if state, err := s.own.view(ctx); err == nil {
		if c := state.defaultCache(); c != nil {
			return append(b, c.name...)
		}
	}
	return firstName(b, s.peer.UID)
}

// collectionOf returns the collection that a cache of this name belongs to. For
// root it is that of the uid at the beginning of the name. For a user it is
// always their own, so that names of other users are not found.
func (s *session) collectionOf(name []byte) *collection {
	if s.peer.UID != rootUID {
		return s.own
	}
	c := s.own
	if uid := ownerOf(name); uid != rootUID {
		c = s.server.users.of(uid)
	}
	return c
}

// find returns the cache called name and its collection, if the client is
// permitted to do the operation on it. If parameters were missing it returns
// that error.
func (s *session) find(ctx context.Context, name []byte) (*collection, *cache, error) {
	if err := s.in.Err(); err != nil {
		return nil, nil, err
	}
	owner := s.collectionOf(name)
	state, err := owner.view(ctx)
	if err != nil {
		return nil, nil, err
	}
	c := state.byName(name)
	if c == nil && s.peer.UID == rootUID {
		owner, c, err = s.findChowned(ctx, name)
	}
	if err != nil {
		return nil, nil, err
	}
	if c == nil && !mayCreate(s.peer.UID, name) {
		return nil, nil, errNotTheirs
	}
	if c == nil {
		return nil, nil, errNoCache
	}
	c.used.Store(s.server.now().Unix())
	s.about.cache = c
	s.audit(owner)
	s.bindDefault(ctx, owner, state, c)
	return owner, c, s.permit(c)
}

// findChowned looks for a cache that root has given to a user other than the one
// in its name.
func (s *session) findChowned(ctx context.Context, name []byte) (*collection, *cache, error) {
	uid, found := s.server.users.chowned.find(name)
	if !found {
		return nil, nil, nil
	}
	owner := s.server.users.of(uid)
	state, err := owner.view(ctx)
	if err != nil {
		return nil, nil, err
	}
	return owner, state.byName(name), nil
}

// read is find for operations that change nothing.
func (s *session) read(ctx context.Context, name []byte) (*cache, error) {
	_, c, err := s.find(ctx, name)
	return c, err
}

// change lets f change the cache called name, and returns when that is durable.
func (s *session) change(ctx context.Context, name []byte, f func(*edit, *cache) error) error {
	owner, c, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	return owner.changeCache(ctx, c.id, f)
}

// create lets f change the cache called name, or make it: then it is given
// nil. Where the limit on the caches of all users is in the way, expired ones
// are removed and f is tried again; at last an earlier login's cache may go.
func (s *session) create(ctx context.Context, name []byte, f func(*edit, *cache) error) error {
	if err := s.in.Err(); err != nil {
		return err
	}
	owner, c, err := s.find(ctx, name)
	if errors.Is(err, errNoCache) {
		if !mayCreate(s.peer.UID, name) {
			return errName
		}
		owner, err = s.collectionOf(name), nil
		s.audit(owner)
	}
	if err != nil {
		return err
	}
	change := func(e *edit) error {
		c := e.byName(name)
		if c != nil {
			if err := s.permit(c); err != nil {
				return err
			}
		}
		return f(e, c)
	}
	if owner.generated(name) || c != nil && c.session != nil { // it may be new when it is its turn
		s.locate(owner.uid)
		defer s.leave()
	}
	if c == nil {
		if err := s.server.takeCensus(ctx); err != nil {
			return err
		}
	}
	err = owner.apply(ctx, change)
	if errors.Is(err, errFull) && s.server.purgeEveryone(ctx) {
		err = owner.apply(ctx, change)
	}
	if errors.Is(err, errFull) {
		s.supersede = true
		err = owner.apply(ctx, change)
		s.supersede = false
	}
	if err == nil {
		s.made(ctx, owner, name, c == nil)
	}
	return err
}
