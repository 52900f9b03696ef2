package kcm

import (
	"bytes"
	"hash/maphash"

	"gosssd/kcm/protocol"
)

// sameIdentity reports whether storing b replaces a. Tickets for the same
// service live side by side when they are of different use: user-to-user
// tickets differ in the second ticket, S4U ones in client or authorization
// data. Of configuration entries there is one per name.
func sameIdentity(a, b *protocol.Credential) bool {
	if !a.Client.Equal(b.Client) || !a.Server.Equal(b.Server) {
		return false
	}
	return a.Server.IsConfig() ||
		(a.IsSkey != 0) == (b.IsSkey != 0) &&
			bytes.Equal(a.SecondTicket, b.SecondTicket) &&
			protocol.SameElements(a.AuthData, b.AuthData)
}

// identitySeed keeps users from making identities that collide on purpose.
var identitySeed = maphash.MakeSeed()

// identityOf returns a number that is equal for credentials of the same
// identity, and hardly ever for others. It differs from process to process.
func identityOf(c *protocol.Credential) uint64 {
	var h maphash.Hash
	h.SetSeed(identitySeed)
	addPrincipal(&h, c.Client)
	addPrincipal(&h, c.Server)
	if c.Server.IsConfig() {
		return h.Sum64()
	}
	if c.IsSkey != 0 {
		_ = h.WriteByte(1)
	}
	add(&h, c.SecondTicket)
	for _, e := range c.AuthData {
		add(&h, e.Data)
	}
	return h.Sum64()
}

func addPrincipal(h *maphash.Hash, p protocol.Principal) {
	add(h, p.Realm)
	for _, component := range p.Components {
		add(h, component)
	}
}

// add hashes b and its end, so that pieces do not run together.
func add(h *maphash.Hash, b []byte) {
	_, _ = h.Write(b)
	_ = h.WriteByte(0xff)
}
