package main

import (
	"bytes"
	"errors"
	"fmt"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// write logs in or out.
func (h *history) write(c *client.Client, i, n, value int) {
	name := cacheOf(i, n)
	s := step{Value: value, Begin: h.now()}
	var err error
	if value == absent {
		_, err = c.Call(protocol.OpDestroy, protocol.AppendName(nil, name))
		if isAbsent(err) {
			err = nil
		}
	} else {
		err = h.login(c, name, value)
	}
	s.End = h.now()
	s.Unsure = err != nil
	h.registers[name].wrote(s)
	h.judge(c, fmt.Sprintf("login %d of %s", value, name), s, err)
}

// login makes a cache by REPLACE, or where the server lacks that as an older
// libkrb5 does.
func (h *history) login(c *client.Client, name string, value int) error {
	end := h.end(value)
	if !h.debian && !h.heimdal {
		var list [][]byte
		for t := range tickets(value) {
			list = append(list, protocol.AppendCredential(nil, numbered(value, t, end)))
		}
		b := append(protocol.AppendName(nil, name), 0, 0, 0, 0)
		_, err := c.Call(protocol.OpReplace, protocol.AppendCredentialList(protocol.AppendPrincipal(b, principal("g")), list))
		return err
	}
	err := c.Initialize(name, principal("g"))
	for t := range tickets(value) {
		if err == nil {
			err = c.Store(name, numbered(value, t, end))
		}
	}
	return err
}

// tickets is how many tickets a login brings.
func tickets(value int) int { return 1 + value%4 }

func numbered(value, t int, end uint32) protocol.Credential {
	cred := ticket(fmt.Sprint("host", t), 0)
	cred.Times.End = end
	cred.Ticket = append(fmt.Appendf(nil, "%d ", value), make([]byte, 400*t)...)
	return cred
}

// look reads a cache, as its writer or as the other client of its user.
func (h *history) look(c *client.Client, i, n int, writer bool) {
	name := cacheOf(i, n)
	s := step{Begin: h.now()}
	list, err := h.list(c, name)
	s.End = h.now()
	if isAbsent(err) {
		list, err = nil, nil
	}
	if h.judge(c, "read "+name, s, err); err != nil {
		return
	}
	if s.Value = valueOf(list); s.Value == half && !writer && (h.debian || h.heimdal) {
		return // without REPLACE a login under way is seen
	}
	h.registers[name].saw(s, writer)
}

func (h *history) list(c *client.Client, name string) ([]protocol.Credential, error) {
	if !h.heimdal {
		return c.Credentials(name)
	}
	ids, err := c.Call(protocol.OpGetCredUUIDList, protocol.AppendName(nil, name))
	var list []protocol.Credential
	for ids = bytes.Clone(ids); err == nil && len(ids) >= 16; ids = ids[16:] {
		var b []byte
		if b, err = c.Call(protocol.OpGetCredByUUID, protocol.AppendName(nil, name), ids[:16]); err == nil {
			r := protocol.NewReader(b)
			list = append(list, r.Credential())
		}
	}
	return list, err
}

// valueOf is the login that all tickets of a cache are of.
func valueOf(list []protocol.Credential) int {
	value := absent
	for _, cred := range list {
		var of int
		_, _ = fmt.Sscan(string(cred.Ticket), &of)
		if value != absent && of != value {
			return half
		}
		value = of
	}
	if value != absent && len(list) != tickets(value) {
		return half
	}
	return value
}

func isAbsent(err error) bool {
	var refused *client.Error
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Code {
	case protocol.NoFile, protocol.NotFound, protocol.End:
		return true
	}
	return false
}
