package kcm

import (
	"bytes"
	"slices"
	"sync/atomic"

	"gosssd/kcm/logins"
	"gosssd/kcm/protocol"
)

// Everything in this file is immutable once it is published: a change makes
// new values that share what stays the same.

// state is what one user has at one moment.
type state struct {
	uid       uint32        // whose they are
	caches    []*cache      // in the order of their creation
	preferred protocol.UUID // the cache that SET_DEFAULT_CACHE chose, or zero
	previous  protocol.UUID // the default as long as the chosen one has no principal, or zero
	nextCache uint64        // sequence number of the next cache
	imported  []byte        // root's only: digest of the database of SSSD that was imported
}

// cache is one credential cache.
type cache struct {
	id         protocol.UUID
	name       string
	seq        uint64 // order of creation among the user's caches
	gid        uint32
	mode       uint16
	generated  bool            // the name is of GEN_NEW: a login's, or kinit's for one more principal
	ended      bool            // it has expired and was emptied; the header stays
	session    *logins.Session // that it ends with; nil: with none
	offset     int32           // seconds the KDC's clock is ahead
	principal  []byte          // as it came; nil while it is not known
	entries    []entry
	firstCred  uint64   // sequence numbers of the credentials begin here
	nextCred   uint64   // sequence number of the next credential
	size       int64    // bytes of its records
	extra      int64    // bytes that its credentials take in memory besides
	headerSize int      // bytes of its header's record
	damaged    []string // keys of records that are kept but cannot be read

	used *atomic.Int64 // when a client named it last, in seconds since 1970; of all its states
}

// entry is a credential of a cache. The identities are in one array, so that
// STORE finds the credential it replaces without reading all credentials.
type entry struct {
	identity uint64
	*credential
}

// credential is one ticket as it is stored.
type credential struct {
	protocol.Credential        // shares the bytes of record
	seq                 uint64 // order of creation in its cache, and key of its record
	record              []byte
}

// raw is the credential as its client sent it.
func (c *credential) raw() []byte { return c.record[recordVersionSize:] }

func (s *state) byName(name []byte) *cache {
	for _, c := range s.caches {
		if c.name == string(name) {
			return c
		}
	}
	return nil
}

func (s *state) byID(id protocol.UUID) *cache {
	for _, c := range s.caches {
		if c.id == id {
			return c
		}
	}
	return nil
}

// credentialID returns the UUID of a credential: half of its cache's UUID and
// its sequence number. So it can be found by a binary search, and a credential
// that replaces another keeps its UUID.
func (c *cache) credentialID(cred *credential) protocol.UUID {
	id := c.id
	for i := range 8 {
		id[8+i] = byte(cred.seq >> (56 - 8*i))
	}
	return id
}

// byCredentialID returns the credential with this UUID, or nil.
func (c *cache) byCredentialID(id protocol.UUID) *credential {
	var seq uint64
	for _, b := range id[8:] {
		seq = seq<<8 | uint64(b)
	}
	i, found := slices.BinarySearchFunc(c.entries, seq, func(e entry, seq uint64) int {
		return int(int64(e.seq - seq))
	})
	if !found || !bytes.Equal(id[:8], c.id[:8]) {
		return nil
	}
	return c.entries[i].credential
}

// with returns the cache with cred added, or in the place of the one that it
// replaces. The new entries may share their array with the old ones: nobody
// reads the old slice beyond its length.
func (c *cache) with(cred *credential) (next *cache) {
	next = c.copy()
	added := entry{identity: identityOf(&cred.Credential), credential: cred}
	for i := range c.entries {
		if c.entries[i].identity == added.identity && sameIdentity(&c.entries[i].Credential, &cred.Credential) {
			replaced := c.entries[i].credential
			cred.seq = replaced.seq
			next.entries = slices.Clone(c.entries)
			next.entries[i] = added
			next.lose(replaced)
			next.gain(cred)
			return next
		}
	}
	cred.seq = c.nextCred
	next.nextCred++
	next.entries = append(next.entries, added)
	next.gain(cred)
	return next
}

// filled returns an empty cache with many credentials added. The result is the
// same as calling with for each.
func (c *cache) filled(creds []*credential) *cache {
	next := c.copy()
	next.entries = make([]entry, 0, len(creds))
	byIdentity := make(map[uint64][]int, len(creds))
	for _, cred := range creds {
		added := entry{identity: identityOf(&cred.Credential), credential: cred}
		alike := byIdentity[added.identity]
		at := slices.IndexFunc(alike, func(i int) bool { return sameIdentity(&next.entries[i].Credential, &cred.Credential) })
		if at >= 0 {
			slot := &next.entries[alike[at]]
			cred.seq = slot.seq
			next.lose(slot.credential)
			next.gain(cred)
			*slot = added
			continue
		}
		cred.seq = next.nextCred
		next.nextCred++
		next.gain(cred)
		byIdentity[added.identity] = append(alike, len(next.entries))
		next.entries = append(next.entries, added)
	}
	return next
}

// without returns the cache without the credentials for which drop is true, and
// those credentials.
func (c *cache) without(drop func(*credential) bool) (next *cache, dropped []*credential) {
	kept := make([]entry, 0, len(c.entries))
	next = c.copy()
	for _, e := range c.entries {
		if drop(e.credential) {
			dropped = append(dropped, e.credential)
			next.lose(e.credential)
		} else {
			kept = append(kept, e)
		}
	}
	next.entries = kept
	return next, dropped
}

func (c *cache) copy() *cache {
	next := *c
	return &next
}

// credentials returns copies of all credentials, for another cache.
func (c *cache) credentials() []*credential {
	copies := make([]*credential, len(c.entries))
	for i, e := range c.entries {
		cred := *e.credential
		copies[i] = &cred
	}
	return copies
}

// hasTickets reports whether the cache holds more than configuration entries.
func (c *cache) hasTickets() bool {
	return slices.ContainsFunc(c.entries, func(e entry) bool { return !e.Server.IsConfig() })
}

// tickets counts the credentials that are no configuration entries.
func (c *cache) tickets() (n uint32) {
	for i := range c.entries {
		if !c.entries[i].Server.IsConfig() {
			n++
		}
	}
	return n
}
