package main

import (
	"fmt"

	"gosssd/kcm/protocol"
)

// A scenario prepares a client and returns what it does again and again.
type scenario func(c *client) (step func() error, err error)

var scenarios = map[string]scenario{
	"read":    reading,
	"store":   storing,
	"login":   logins,
	"replace": replacing,
	"mixed":   mixing,
	"fill":    filling,
	"reread":  rereading,
	"crowd":   makeCaches,
	"secret":  secretWriting,

	"populate": populating,
	"scatter":  scattering,

	"append":    appending,
	"overwrite": overwriting,
}

// usual is how many credentials the cache has that is read.
const usual = 5

// client is one client process.
type client struct {
	*conn
	task   task
	cache  string
	number int // of steps so far
}

// all makes requests that must succeed, in turn.
func (c *client) all(frames ...[]byte) error {
	for i, f := range frames {
		if _, err := c.must(f); err != nil {
			return fmt.Errorf("request %d of %d: %w", i+1, len(frames), err)
		}
	}
	return nil
}

// reading asks for the default cache, its principal and its credentials, as
// klist and every GSSAPI program does.
func reading(c *client) (func() error, error) {
	if err := c.all(initialize(c.cache)); err != nil {
		return nil, err
	}
	for i := range usual {
		if err := c.all(store(c.cache, ticket(i))); err != nil {
			return nil, err
		}
	}
	return c.reader(usual)
}

// reader returns a step that reads a cache of so many credentials. The server
// is asked for all credentials at once, or one by one if it cannot do that.
func (c *client) reader(credentials int) (func() error, error) {
	first := [][]byte{frame(protocol.OpGetDefaultCache), frame(protocol.OpGetPrincipal, name(c.cache))}
	list := frame(protocol.OpGetCredList, name(c.cache))
	reply, err := c.call(list)
	if err != nil {
		// A server that does not know the request may hang up.
		reply.Outer = protocol.Internal
	}
	if reply.Outer == 0 && reply.Inner == 0 {
		if n := protocol.NewReader(reply.Results); int(n.Uint32()) != credentials {
			return nil, fmt.Errorf("%s has not %d credentials", c.cache, credentials)
		}
		return func() error { return c.all(first[0], first[1], list) }, nil
	}
	return func() error {
		if err := c.all(first...); err != nil {
			return err
		}
		return c.oneByOne(credentials)
	}, nil
}

func (c *client) oneByOne(credentials int) error {
	results, err := c.must(frame(protocol.OpGetCredUUIDList, name(c.cache)))
	if err != nil {
		return err
	}
	ids := append([]byte(nil), results...)
	if len(ids) != 16*credentials {
		return fmt.Errorf("%s has %d credentials, not %d", c.cache, len(ids)/16, credentials)
	}
	for ; len(ids) > 0; ids = ids[16:] {
		if err := c.all(frame(protocol.OpGetCredByUUID, name(c.cache), ids[:16])); err != nil {
			return err
		}
	}
	return nil
}

// storing puts tickets for ten services into one cache, in turn.
func storing(c *client) (func() error, error) {
	var stores [][]byte
	for i := range 10 {
		stores = append(stores, store(c.cache, ticket(i)))
	}
	if err := c.all(append([][]byte{initialize(c.cache)}, stores...)...); err != nil {
		return nil, err
	}
	return func() error {
		c.number++
		return c.all(stores[c.number%len(stores)])
	}, nil
}

// logins is kinit and kdestroy of a library that cannot replace a cache.
func logins(c *client) (func() error, error) {
	requests := [][]byte{
		frame(protocol.OpGetDefaultCache),
		initialize(c.cache),
		store(c.cache, setting("fast_avail", "yes")),
		store(c.cache, tgt()),
		store(c.cache, setting("pa_type", "2")),
		frame(protocol.OpSetDefaultCache, name(c.cache)),
		frame(protocol.OpGetDefaultCache),
		frame(protocol.OpGetPrincipal, name(c.cache)),
		frame(protocol.OpDestroy, name(c.cache)),
	}
	return func() error { return c.all(requests...) }, nil
}

// replacing is kinit of a library that can, without kdestroy.
func replacing(c *client) (func() error, error) {
	requests := [][]byte{
		frame(protocol.OpGetDefaultCache),
		replace(c.cache, setting("fast_avail", "yes"), tgt(), setting("pa_type", "2")),
	}
	if err := c.all(requests...); err != nil {
		return nil, err
	}
	return func() error { return c.all(requests...) }, nil
}

// mixing is 16 reads, 3 stores and a login in 20 steps.
func mixing(c *client) (func() error, error) {
	read, err := reading(c)
	if err != nil {
		return nil, err
	}
	other := *c
	other.cache = c.cache + "x"
	login, err := logins(&other)
	if err != nil {
		return nil, err
	}
	again := store(c.cache+"y", ticket(0))
	if err := c.all(initialize(c.cache + "y")); err != nil {
		return nil, err
	}
	return func() error {
		c.number++
		switch {
		case c.number%20 == 0:
			return login()
		case c.number%5 == 0:
			return c.all(again)
		}
		return read()
	}, nil
}
