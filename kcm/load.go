package kcm

import (
	"cmp"
	"slices"

	"gosssd/kcm/protocol"
)

// damage is a record that cannot be served. It stays where it is.
type damage struct {
	key string
	err error
}

// loader builds the state of a user from records, which come in any order. A
// record that cannot be read costs the credential or the cache that it is of,
// and nothing else.
type loader struct {
	state   state
	caches  map[protocol.UUID]*loading
	damaged []damage
}

// loading is what has been loaded of one cache.
type loading struct {
	header  *cache // nil until it has come
	entries []entry
	keys    []string // of records that cannot be read
	nextSeq uint64
	size    int64
	extra   int64
}

func newLoader() *loader { return &loader{caches: map[protocol.UUID]*loading{}} }

// add adds a record.
func (l *loader) add(key string, record []byte) error {
	if key == importedKey {
		l.state.imported = record
		return nil
	}
	if key == defaultKey {
		const one = len(l.state.preferred)
		if len(record) != one && len(record) != 2*one {
			l.damage(key, protocol.ErrMalformed)
			return nil
		}
		copy(l.state.preferred[:], record)
		copy(l.state.previous[:], record[one:])
		return nil
	}
	id, seq, isHeader, err := parseKey(key)
	if err != nil {
		l.damage(key, err)
		return nil
	}
	if isHeader {
		c, err := decodeHeader(id, record)
		if err != nil {
			l.damage(key, err)
			return nil
		}
		l.of(id).header = c
		return nil
	}
	l.of(id).add(l, key, seq, record)
	return nil
}

func (l *loader) of(id protocol.UUID) *loading {
	c := l.caches[id]
	if c == nil {
		c = &loading{}
		l.caches[id] = c
	}
	return c
}

func (l *loader) damage(key string, err error) {
	l.damaged = append(l.damaged, damage{key, err})
}

// add adds the record of a credential.
func (c *loading) add(l *loader, key string, seq uint64, record []byte) {
	c.nextSeq = max(c.nextSeq, seq+1)
	cred, err := decodeCredential(seq, record)
	if err != nil {
		l.damage(key, err)
		c.keys = append(c.keys, key)
		return
	}
	c.entries = append(c.entries, entry{identityOf(&cred.Credential), cred})
	c.size += int64(len(record))
	c.extra += cred.extra()
}

// finish returns the state, and what could not be read of it.
func (l *loader) finish() (*state, []damage) {
	for id, loaded := range l.caches {
		c := loaded.header
		if c == nil {
			for _, e := range loaded.entries {
				l.damage(credentialKey(id, e.seq), errOrphan)
			}
			continue
		}
		slices.SortFunc(loaded.entries, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
		c.entries, c.damaged = loaded.entries, loaded.keys
		c.nextCred = max(c.nextCred, loaded.nextSeq)
		c.size += loaded.size
		c.extra += loaded.extra
		l.state.caches = append(l.state.caches, c)
		l.state.nextCache = max(l.state.nextCache, c.seq+1)
	}
	slices.SortFunc(l.state.caches, func(a, b *cache) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), slices.Compare(a.id[:], b.id[:]))
	})
	return &l.state, l.damaged
}
