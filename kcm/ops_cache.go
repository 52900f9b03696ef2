package kcm

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"gosssd/kcm/protocol"
)

func (s *session) noop(context.Context) error { return nil }

// resolve is what a client library does without asking anybody: the cache
// need not exist.
func (s *session) resolve(ctx context.Context) error {
	name := s.nameParam(ctx)
	if err := s.in.Err(); err != nil {
		return err
	}
	if !mayCreate(s.peer.UID, name) {
		return errName
	}
	return nil
}

func (s *session) getName(ctx context.Context) error {
	c, err := s.read(ctx, s.nameParam(ctx))
	if err != nil {
		return err
	}
	s.out = protocol.AppendName(s.out, c.name)
	return nil
}

func (s *session) getPrincipal(ctx context.Context) error {
	c, err := s.read(ctx, s.nameParam(ctx))
	if err != nil {
		return err
	}
	if c.principal == nil {
		return errNoPrincipal
	}
	s.out = append(s.out, c.principal...)
	return nil
}

// initialize makes a cache, or empties one that is there; it stays the same
// cache at the same place in the list.
func (s *session) initialize(ctx context.Context) error {
	name := s.nameParam(ctx)
	principal := clone(s.in.RawPrincipal())
	s.about.principal = principal
	return s.create(ctx, name, func(e *edit, c *cache) error {
		if c == nil {
			_, err := s.newCache(e, name, principal)
			return err
		}
		return s.fill(e, e.empty(s.free(c)), 0, principal, nil)
	})
}

// newCache adds a cache, if the limits allow it.
func (s *session) newCache(e *edit, name, principal []byte) (*cache, error) {
	successor, err := s.server.makeRoom(e, principal, s.supersede)
	if err != nil {
		return nil, err
	}
	c, err := s.addCache(e, name, principal)
	if err != nil {
		return nil, err
	}
	if successor {
		e.choose(c)
	}
	return s.server.fit(e, c)
}

// NoGID stands for the group of an owner whom root made a cache for.
const NoGID = math.MaxUint32

func (s *session) addCache(e *edit, name, principal []byte) (*cache, error) {
	var id protocol.UUID
	if _, err := io.ReadFull(s.server.random, id[:]); err != nil {
		return nil, fmt.Errorf("random UUID: %w", err)
	}
	id[6] = id[6]&0x0f | 0x40 // RFC 9562 §5.4: version 4,
	id[8] = id[8]&0x3f | 0x80 // its variant
	gid := s.peer.GID
	if s.peer.UID == rootUID && ownerOf(name) != rootUID {
		gid = NoGID
	}
	c := e.add(id, string(name), gid, principal)
	c.used.Store(s.server.now().Unix())
	if s.collectionOf(name).generated(name) {
		c.generated, c.session = true, s.ofSession()
		e.header(c)
	}
	return c, nil
}

// knownOffset returns the offset that a client gives. SSSD gave the greatest
// one for "none" once, which would move every ticket by 68 years.
func knownOffset(given int32) int32 {
	if given == math.MaxInt32 {
		return 0
	}
	return given
}

// replace makes a cache or exchanges the whole content of one, in one commit:
// neither a reader nor a crash ever sees it half done.
func (s *session) replace(ctx context.Context) error {
	name := s.nameParam(ctx)
	offset := knownOffset(s.in.Int32())
	principal := clone(s.in.RawPrincipal())
	s.about.principal = principal
	creds, err := readCredentials(&s.in, s.server.settings.Load().maxCredentials)
	for i := 0; err == nil && i < len(creds); i++ {
		creds[i], err = s.withKey(ctx, name, creds[i])
	}
	if err != nil {
		return err
	}
	return s.create(ctx, name, func(e *edit, c *cache) error {
		var err error
		if c == nil {
			c, err = s.newCache(e, name, principal)
		} else {
			c = e.empty(s.free(c))
		}
		if err != nil {
			return err
		}
		return s.fill(e, c, offset, principal, creds)
	})
}

// fill gives an empty cache its content.
func (s *session) fill(e *edit, c *cache, offset int32, principal []byte, creds []*credential) error {
	c = c.copy()
	c.offset, c.principal = offset, principal
	e.header(c)
	c, err := s.server.fit(e, e.fill(c, creds))
	if err != nil {
		return err
	}
	e.notify(changed, c)
	return nil
}

func (s *session) destroy(ctx context.Context) error {
	return s.change(ctx, s.nameParam(ctx), func(e *edit, c *cache) error {
		e.remove(c)
		return nil
	})
}

// moveCache gives the content of one cache to another and destroys the first.
// UUID, mode and being the default stay with the name.
func (s *session) moveCache(ctx context.Context) error {
	from, to := s.nameParam(ctx), s.cacheName(ctx)
	owner, source, err := s.find(ctx, from)
	if err != nil {
		return err
	}
	if string(from) == string(to) {
		return nil
	}
	if s.collectionOf(to) != owner {
		return errOtherUser
	}
	if owner.generated(to) {
		s.locate(owner.uid)
		defer s.leave()
	}
	return owner.changeCache(ctx, source.id, func(e *edit, src *cache) error {
		dst, err := s.target(e, to)
		if err != nil {
			return err
		}
		e.move(src, dst)
		return nil
	})
}

// target returns the cache that another is moved to, and creates it if needed.
// The other cache is removed, so no limit applies.
func (s *session) target(e *edit, name []byte) (*cache, error) {
	if c := e.byName(name); c != nil {
		return c, s.permit(c)
	}
	if !mayCreate(s.peer.UID, name) {
		return nil, errName
	}
	return s.addCache(e, name, nil)
}

func (e *edit) move(src, dst *cache) {
	next := e.empty(dst)
	next.principal, next.offset = src.principal, src.offset
	e.header(next)
	next = e.fill(next, src.credentials())
	e.remove(src)
	e.notify(changed, next)
}

// setFlags changes nothing: the flags of the protocol are about files.
func (s *session) setFlags(ctx context.Context) error {
	name := s.nameParam(ctx)
	s.in.Uint32()
	_, err := s.read(ctx, name)
	return err
}

func (s *session) getKDCOffset(ctx context.Context) error {
	c, err := s.read(ctx, s.nameParam(ctx))
	if err != nil {
		return err
	}
	s.out = binary.BigEndian.AppendUint32(s.out, uint32(c.offset))
	return nil
}

func (s *session) setKDCOffset(ctx context.Context) error {
	name := s.nameParam(ctx)
	offset := s.in.Int32()
	return s.change(ctx, name, func(e *edit, c *cache) error {
		// SSSD gave the greatest offset for "none" once, and ignores it.
		if offset == c.offset || offset == math.MaxInt32 {
			return nil
		}
		next := c.copy()
		next.offset = offset
		e.header(next)
		return nil
	})
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
