package kcm

import (
	"slices"
	"strings"

	"gosssd/kcm/protocol"
	"gosssd/sbus"
)

// The signals of the responder's interface on the bus. Each carries the uid,
// the cache's name and its principal, both as text.
const (
	created   = "CacheCreated"
	changed   = "CacheChanged"
	destroyed = "CacheDestroyed"
)

// obtainedSignal is sent when the server has got a ticket for a process: the uid
// of the cache's owner, the cache's name and principal, the service, and which
// process asked.
const obtainedSignal = "TicketObtained"

// signals declares them.
func signals() []sbus.Signal {
	args := []sbus.Arg{{Name: "uid", Type: "u"}, {Name: "name", Type: "s"}, {Name: "principal", Type: "s"}}
	return []sbus.Signal{{Name: created, Args: args}, {Name: changed, Args: args}, {Name: destroyed, Args: args},
		{Name: obtainedSignal, Args: append(slices.Clip(args), sbus.Arg{Name: "service", Type: "s"},
			sbus.Arg{Name: "client_uid", Type: "u"}, sbus.Arg{Name: "pid", Type: "i"}, sbus.Arg{Name: "program", Type: "s"})}}
}

// event is a signal that is sent once its change is committed.
type event struct {
	member  string
	cache   *cache
	renewed bool // the server has changed it so
}

// notify notes an event of c. A cache that is created and filled by one change
// is told of once, as it is at the end.
func (e *edit) notify(member string, c *cache) {
	for i := range e.events {
		if e.events[i].cache.id == c.id && member == changed {
			e.events[i].cache = c
			return
		}
	}
	e.events = append(e.events, event{member: member, cache: c})
}

// texts returns a cache's name and principal in the form that D-Bus takes.
func (c *cache) texts() (name, principal string) {
	name = strings.ToValidUTF8(c.name, "\uFFFD")
	if c.principal != nil {
		r := protocol.NewReader(c.principal)
		principal = strings.ToValidUTF8(r.Principal().String(), "\uFFFD")
	}
	return name, principal
}
