package kcm

import (
	"bytes"
	"context"
	"slices"

	"gosssd/kcm/protocol"
)

// The guard keeps the keys of ticket-granting tickets in the server. Who has
// such a key can get a ticket for any service, anywhere, until the TGT ends; who
// has the key of one service's ticket reaches this service. So all but root are
// shown a TGT without its key, and the server uses it for them.

// guards reports whether this client must not see the key of a credential.
func (s *session) guards(cred *credential) bool {
	return s.peer.UID != rootUID && cred.Server.GrantsTickets() && s.server.guard.covers(cred.Client)
}

// shown returns a cache as this client may see it.
func (s *session) shown(c *cache) *cache {
	if len(s.server.guard) == 0 || s.peer.UID == rootUID {
		return c
	}
	next := c.copy()
	next.entries = slices.Clone(c.entries)
	for i, e := range c.entries {
		if s.guards(e.credential) {
			next.entries[i].credential = e.withoutKey()
			next.size -= int64(len(e.Key.Key))
		}
	}
	return next
}

// withoutKey returns a credential with an empty session key of the same type.
func (c *credential) withoutKey() *credential {
	next := *c
	next.Key.Key = nil
	next.record = encodeCredential(protocol.AppendCredential(nil, next.Credential))
	return &next
}

// withKey gives a TGT its key back that a client has read without it, and now
// stores in another of the user's caches.
func (s *session) withKey(ctx context.Context, name []byte, cred *credential) (*credential, error) {
	if len(s.server.guard) == 0 || len(cred.Key.Key) > 0 || !cred.Server.GrantsTickets() {
		return cred, nil
	}
	state, err := s.collectionOf(name).view(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range state.caches {
		for _, e := range c.entries {
			if len(e.Key.Key) > 0 && bytes.Equal(e.Ticket, cred.Ticket) && e.Client.Equal(cred.Client) {
				next := *e.credential
				next.Server = cred.Server
				return newCredential(next.Credential)
			}
		}
	}
	return cred, nil
}
