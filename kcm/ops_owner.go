package kcm

import (
	"context"

	"gosssd/kcm/protocol"
)

// permissions are the bits of a mode that CHMOD keeps.
const permissions = 0o777

func (s *session) chmod(ctx context.Context) error {
	name := s.nameParam(ctx)
	mode := s.in.Uint16()
	return s.change(ctx, name, func(e *edit, c *cache) error {
		next := c.copy()
		next.mode = mode & permissions
		e.header(next)
		return nil
	})
}

// chown gives a cache to another user, which only root may do: a user who
// could would plant tickets at others. It keeps its name, and shows in the
// new owner's list.
func (s *session) chown(ctx context.Context) error {
	name := s.nameParam(ctx)
	uid, gid := s.in.Uint32(), s.in.Uint32()
	owner, c, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if uid != owner.uid {
		if s.peer.UID != rootUID {
			return errNotOwner
		}
		return s.server.transfer(ctx, c.id, owner, s.server.users.of(uid), gid)
	}
	return owner.changeCache(ctx, c.id, func(e *edit, c *cache) error {
		next := c.copy()
		next.gid = gid
		e.header(next)
		return nil
	})
}

// transfer moves a cache to another user. Two users' records cannot change in one
// commit, so the new owner gets it first: after a crash both have it, instead
// of nobody, and the next attempt completes the transfer.
func (s *Server) transfer(ctx context.Context, id protocol.UUID, from, to *collection, gid uint32) error {
	// Holding one collection while changing another is safe only as long as
	// nobody does it the other way round.
	s.transferring.Lock()
	defer s.transferring.Unlock()
	return from.changeCache(ctx, id, func(e *edit, c *cache) error {
		if err := to.apply(ctx, func(t *edit) error { return s.receive(t, c, gid) }); err != nil {
			return err
		}
		s.users.chowned.learn(to.uid, &state{caches: []*cache{c}})
		e.remove(c)
		return nil
	})
}

func (s *Server) receive(e *edit, c *cache, gid uint32) error {
	preferred, previous := e.preferred, e.previous
	earlier := e.byID(c.id)
	if earlier != nil {
		e.remove(earlier)
	}
	if e.byName([]byte(c.name)) != nil {
		return errNameTaken
	}
	successor, err := s.makeUserRoom(e, c.principal)
	if err != nil {
		return err
	}
	added := e.add(c.id, c.name, gid, c.principal)
	added.used.Store(c.used.Load())
	added.offset, added.mode, added.generated, added.ended = c.offset, c.mode, c.generated, c.ended
	e.header(added)
	e.fill(added, c.credentials())
	switch {
	case earlier != nil && preferred == c.id:
		e.setDefault(preferred, previous)
	case successor:
		e.choose(added)
	}
	return nil
}
