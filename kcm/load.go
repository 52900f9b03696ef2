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

// decodeState reads all records of a user. A record that cannot be read costs
// the credential or the cache that it is of, and nothing else.
func decodeState(records map[string][]byte) (*state, []damage) {
	s := &state{}
	caches, damaged := decodeHeaders(s, records)
	for key, record := range records {
		id, seq, isHeader, err := parseKey(key)
		if isHeader || key == defaultKey {
			continue
		}
		c := caches[id]
		if err == nil && c == nil {
			err = errOrphan
		}
		var cred *credential
		if err == nil {
			c.nextCred = max(c.nextCred, seq+1)
			cred, err = decodeCredential(seq, record)
		}
		if err != nil {
			damaged = append(damaged, damage{key, err})
			if c != nil {
				c.damaged = append(c.damaged, key)
			}
			continue
		}
		c.entries = append(c.entries, entry{identityOf(&cred.Credential), cred})
		c.size += int64(len(record))
	}
	for _, c := range s.caches {
		slices.SortFunc(c.entries, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
	}
	return s, damaged
}

// decodeHeaders fills s with caches without credentials and returns them by UUID.
func decodeHeaders(s *state, records map[string][]byte) (caches map[protocol.UUID]*cache, damaged []damage) {
	caches = map[protocol.UUID]*cache{}
	for key, record := range records {
		if key == defaultKey {
			if len(record) != len(s.preferred) {
				damaged = append(damaged, damage{key, protocol.ErrMalformed})
				continue
			}
			copy(s.preferred[:], record)
			continue
		}
		id, _, isHeader, err := parseKey(key)
		if !isHeader {
			continue
		}
		var c *cache
		if err == nil {
			c, err = decodeHeader(id, record)
		}
		if err != nil {
			damaged = append(damaged, damage{key, err})
			continue
		}
		caches[id] = c
		s.caches = append(s.caches, c)
		s.nextCache = max(s.nextCache, c.seq+1)
	}
	slices.SortFunc(s.caches, func(a, b *cache) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), slices.Compare(a.id[:], b.id[:]))
	})
	return caches, damaged
}
