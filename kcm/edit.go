package kcm

import (
	"maps"
	"slices"
	"sync/atomic"

	"gosssd/kcm/protocol"
)

// edit is a change of one user's caches that is being prepared: the state after
// it, the records that the store must change, and the signals to send. Until it
// is committed nothing has changed.
type edit struct {
	state
	base     *state // what it began with
	records  map[string][]byte
	events   []event
	purged   []purged
	reserved int // caches counted with the census for this edit
}

func newEdit(base *state) *edit {
	return &edit{state: *base, base: base, records: map[string][]byte{}}
}

// fork returns an edit that starts from the state of e.
func (e *edit) fork() *edit { return newEdit(&e.state) }

// join adds the changes of a fork to e.
func (e *edit) join(fork *edit) {
	e.state = fork.state
	maps.Copy(e.records, fork.records)
	e.events = append(e.events, fork.events...)
	e.purged = append(e.purged, fork.purged...)
	e.reserved += fork.reserved
}

// add appends a new cache.
func (e *edit) add(id protocol.UUID, name string, gid uint32, principal []byte) *cache {
	c := &cache{id: id, name: name, seq: e.nextCache, gid: gid, mode: defaultMode, principal: principal, used: new(atomic.Int64)}
	e.nextCache++
	e.caches = append(slices.Clip(e.caches), c)
	e.header(c)
	e.notify(created, c)
	return c
}

// replace puts c in the place of the cache with its UUID.
func (e *edit) replace(c *cache) {
	i := slices.IndexFunc(e.caches, func(old *cache) bool { return old.id == c.id })
	e.caches = slices.Clone(e.caches)
	e.caches[i] = c
}

// header replaces c, and writes its header record.
func (e *edit) header(c *cache) {
	record := encodeHeader(c)
	c.size += int64(len(record) - c.headerSize)
	c.headerSize = len(record)
	e.records[headerKey(c.id)] = record
	e.replace(c)
}

// empty returns c without its credentials. Their identifiers are not used again.
// The caller must replace c by it.
func (e *edit) empty(c *cache) *cache {
	e.forget(c)
	next := c.copy()
	next.entries, next.damaged, next.ended = nil, nil, false
	next.firstCred = c.nextCred
	next.size, next.extra = int64(c.headerSize), 0
	return next
}

// forget deletes the records of the credentials of c.
func (e *edit) forget(c *cache) {
	for _, entry := range c.entries {
		e.records[credentialKey(c.id, entry.seq)] = nil
	}
	for _, key := range c.damaged {
		e.records[key] = nil
	}
}

// remove destroys a cache. If it was the chosen default, none is chosen any more.
func (e *edit) remove(c *cache) {
	e.forget(c)
	e.records[headerKey(c.id)] = nil
	e.caches = slices.DeleteFunc(slices.Clone(e.caches), func(other *cache) bool { return other.id == c.id })
	if e.preferred == c.id {
		e.forgetChoice(c)
	}
	e.notify(destroyed, c)
}

// store adds cred to c, in the place of the one it replaces.
func (e *edit) store(c *cache, cred *credential) *cache {
	if c.ended && !cred.Server.IsConfig() {
		c = c.copy()
		c.ended = false
		e.header(c)
	}
	next := c.with(cred)
	e.records[credentialKey(next.id, cred.seq)] = cred.record
	e.replace(next)
	return next
}

// fill gives an empty cache many credentials.
func (e *edit) fill(c *cache, creds []*credential) *cache {
	next := c.filled(creds)
	for _, entry := range next.entries {
		e.records[credentialKey(next.id, entry.seq)] = entry.record
	}
	e.replace(next)
	return next
}

// drop removes the credentials of c that the function chooses and returns how
// many they were.
func (e *edit) drop(c *cache, chosen func(*credential) bool) (*cache, int) {
	next, dropped := c.without(chosen)
	if len(dropped) == 0 {
		return c, 0
	}
	for _, cred := range dropped {
		e.records[credentialKey(c.id, cred.seq)] = nil
	}
	e.replace(next)
	return next, len(dropped)
}
