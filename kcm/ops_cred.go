package kcm

import (
	"context"
	"encoding/binary"
	"errors"

	"gosssd/kcm/protocol"
)

// store adds a credential to a cache, or puts it in the place of the one it
// replaces.
func (s *session) store(ctx context.Context) error {
	name := s.nameParam(ctx)
	cred, err := readCredential(&s.in)
	if err == nil {
		cred, err = s.withKey(ctx, name, cred)
	}
	if err != nil {
		return err
	}
	err = s.change(ctx, name, func(e *edit, c *cache) error {
		next, err := s.server.fit(e, e.store(c, cred))
		if err != nil {
			return err
		}
		e.notify(changed, next)
		return nil
	})
	if tooBig(err) || isQuota(err) {
		err = errors.Join(err, s.removeBare(ctx, name))
	}
	return err
}

// removeBare removes a cache without tickets: the kinit that began it has
// just been refused. The default stays if another would take its place.
func (s *session) removeBare(ctx context.Context, name []byte) error {
	return s.change(ctx, name, func(e *edit, c *cache) error {
		if !c.hasTickets() && (len(e.caches) == 1 || e.defaultCache() != c) {
			e.remove(c)
		}
		return nil
	})
}

// maxUnaskedOffset is how many seconds the KDC's clock may differ from this
// machine's before RETRIEVE is no longer answered. MIT's library asks for the
// offset only when it begins to go through a cache, not before RETRIEVE (krb5
// ticket 8826). Without the offset its requests bear the wrong time, which a
// KDC refuses with "Clock skew too great" from five minutes on. It goes
// through the cache when RETRIEVE is not served, and learns the offset.
const maxUnaskedOffset = 60

// retrieve looks for one credential as the client's library would, and saves
// it from having all of them sent. One that the cache lacks may be got from the
// KDC.
func (s *session) retrieve(ctx context.Context) error {
	name := s.nameParam(ctx)
	flags := protocol.Flags(s.in.Uint32())
	tag := s.in.Credtag()
	owner, c, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	cred, err := s.lookFor(ctx, owner, c, &tag, flags)
	if (err == nil || errors.Is(err, errNoneFound)) && (c.offset > maxUnaskedOffset || c.offset < -maxUnaskedOffset) {
		return errAskOffset
	}
	if err != nil {
		return err
	}
	s.appendCredential(cred)
	return nil
}

// lookFor returns what a client looks for, as far as it may be had.
func (s *session) lookFor(ctx context.Context, owner *collection, c *cache, tag *protocol.Credtag, flags protocol.Flags) (*credential, error) {
	cred := c.match(tag, flags)
	switch {
	case cred == nil, s.guards(cred) && s.forwards(tag, flags):
		return s.obtain(ctx, owner, c, tag, flags)
	case s.guards(cred) && tag.Present&protocol.HasServer != 0:
		// The client's library is about to use the key. It would fail without
		// it in words that nobody understands.
		return nil, errGuarded
	case s.guards(cred):
		return cred.withoutKey(), nil
	}
	return cred, nil
}

// match returns the first credential that a client looks for, or nil.
func (c *cache) match(tag *protocol.Credtag, flags protocol.Flags) *credential {
	for i := range c.entries {
		if tag.Matches(&c.entries[i].Credential, flags) {
			return c.entries[i].credential
		}
	}
	return nil
}

func (s *session) removeCred(ctx context.Context) error {
	name := s.nameParam(ctx)
	flags := protocol.RemoveFlags(s.in.Uint32())
	tag := s.in.Credtag()
	return s.change(ctx, name, func(e *edit, c *cache) error {
		next, removed := e.drop(c, func(cred *credential) bool { return tag.Matches(&cred.Credential, flags) })
		if removed == 0 {
			return errNoneRemoved
		}
		e.notify(changed, next)
		return nil
	})
}

func (s *session) getCredUUIDList(ctx context.Context) error {
	c, err := s.read(ctx, s.nameParam(ctx))
	if err != nil {
		return err
	}
	s.room(len(c.entries) * len(protocol.UUID{}))
	for i := range c.entries {
		id := c.credentialID(c.entries[i].credential)
		s.out = append(s.out, id[:]...)
	}
	return nil
}

func (s *session) getCredByUUID(ctx context.Context) error {
	name := s.nameParam(ctx)
	id := s.in.UUID()
	c, err := s.read(ctx, name)
	if err != nil {
		return err
	}
	cred := s.shown(c).byCredentialID(id)
	if cred == nil {
		return errNoSuchID
	}
	s.appendCredential(cred)
	return nil
}

// appendCredential adds a credential to the reply. A large one is sent from
// where it lies.
func (s *session) appendCredential(cred *credential) {
	raw := cred.raw()
	if len(raw) > wholeReply {
		s.last, s.pins = raw, cred.weight()
		return
	}
	s.room(len(raw))
	s.out = append(s.out, raw...)
}

// getCredList sends all credentials at once. Where they do not fit into a
// frame the client is told to ask for them one by one.
func (s *session) getCredList(ctx context.Context) error {
	c, err := s.read(ctx, s.nameParam(ctx))
	if err != nil {
		return err
	}
	c = s.shown(c)
	size := len(s.out) + 4 + 4*len(c.entries) + int(c.size)
	if size > protocol.MaxReply {
		return errOneByOne
	}
	if size > wholeReply {
		s.out = binary.BigEndian.AppendUint32(s.out, uint32(len(c.entries)))
		s.tail, s.pins = c.entries, c.weight()
		return nil
	}
	s.room(size - len(s.out))
	s.out = binary.BigEndian.AppendUint32(s.out, uint32(len(c.entries)))
	for i := range c.entries {
		s.out = protocol.AppendData(s.out, c.entries[i].raw())
	}
	return nil
}
