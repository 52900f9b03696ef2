package kcm

import (
	"context"

	"gosssd/kcm/protocol"
)

// genNew makes up a name. Nothing is created by it.
func (s *session) genNew(ctx context.Context) error {
	state, err := s.own.view(ctx)
	if err != nil {
		return err
	}
	name, err := s.own.newName(state, s.server.random)
	if err != nil {
		return err
	}
	s.out = protocol.AppendName(s.out, name)
	return nil
}

// getCacheUUIDList lists the client's own caches, for root too.
func (s *session) getCacheUUIDList(ctx context.Context) error {
	state, err := s.own.view(ctx)
	if err != nil {
		return err
	}
	if len(state.caches) == 0 {
		return errNoCaches
	}
	for _, c := range state.caches {
		s.out = append(s.out, c.id[:]...)
	}
	return nil
}

func (s *session) getCacheByUUID(ctx context.Context) error {
	id := s.in.UUID()
	if err := s.in.Err(); err != nil {
		return err
	}
	state, err := s.own.view(ctx)
	if err != nil {
		return err
	}
	c := state.byID(id)
	if c == nil {
		return errNoSuchID
	}
	s.out = protocol.AppendName(s.out, c.name)
	return nil
}

// getDefaultCache always has an answer where caches can be read; a user without
// any is told the name that a first one should get.
func (s *session) getDefaultCache(ctx context.Context) error {
	if _, err := s.own.view(ctx); err != nil {
		return err
	}
	s.out = append(s.appendDefaultName(ctx, s.out), 0)
	return nil
}

// setDefaultCache chooses the default. A cache that is not there is made
// without a principal: sshd chooses before it knows whose tickets will come.
func (s *session) setDefaultCache(ctx context.Context) error {
	name := s.nameParam(ctx)
	return s.create(ctx, name, func(e *edit, c *cache) error {
		if c == nil {
			var err error
			if c, err = s.newCache(e, name, nil); err != nil {
				return err
			}
		}
		if e.preferred != c.id {
			e.choose(c)
		}
		return nil
	})
}
