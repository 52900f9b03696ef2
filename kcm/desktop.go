package kcm

import (
	"context"

	"gosssd/confdb"
	"gosssd/kcm/sysbus"
	"gosssd/responder"
)

// systemBusSocket is where the daemon of the system bus listens.
const systemBusSocket = "/run/dbus/system_bus_socket"

const systemBusKey = "system_bus"

func systemBusOption() confdb.Option {
	return confdb.Option{Key: systemBusKey, Kind: confdb.Bool, Default: "true",
		Text: "Show users their own caches on the system bus, and tell them of changes (org.gosssd.Kcm1)"}
}

// showOnSystemBus shows users their own caches, where that is wanted.
func (s *Server) showOnSystemBus(service *responder.Service) {
	if !service.Conf.Section(section).Bool(systemBusKey) {
		return
	}
	s.users.desktop = sysbus.New(service.Root.Path(systemBusSocket), s.shownCaches, service.Log)
	s.users.show = s.shownCache
	s.users.desktop.Start()
}

// shownCaches describes the caches of a user for the user.
func (s *Server) shownCaches(ctx context.Context, uid uint32) (list []sysbus.Cache, err error) {
	err = s.inspect(ctx, s.users.of(uid), func(state *state) error {
		d := state.defaultCache()
		for _, c := range state.caches {
			list = append(list, s.shownCache(uid, c, c == d))
		}
		return nil
	})
	return list, err
}

func (s *Server) shownCache(uid uint32, c *cache, isDefault bool) sysbus.Cache {
	l := s.listed(uid, c, isDefault)
	shown := sysbus.Cache{
		Name: l.Name, Principal: l.Principal, Default: isDefault, End: l.End, RenewUntil: l.RenewTill,
		NextRenewal: l.NextTry, LastRenewal: l.LastTry, RenewalError: l.Result, RenewalErrorCode: l.Code,
	}
	if tgt := c.tgt(); tgt != nil {
		shown.Start = int64(tgt.Times.Begin()) - int64(c.offset)
	}
	shown.Credentials = int(l.Credentials)
	return shown
}

// tell tells the user of a change that is committed. The caller holds mu of the
// collection.
func (u *users) tell(uid uint32, e *edit) {
	if !u.desktop.Watched(uid) {
		return
	}
	members := map[string]string{created: sysbus.Created, changed: sysbus.Changed, destroyed: sysbus.Destroyed}
	before, now := e.base.defaultCache(), e.defaultCache()
	for _, ev := range e.events {
		member := members[ev.member]
		if ev.renewed {
			member = sysbus.Renewed
		}
		u.desktop.Tell(uid, member, u.show(uid, ev.cache, now != nil && now.id == ev.cache.id))
	}
	switch {
	case now == nil && before != nil:
		u.desktop.TellDefault(uid, "")
	case now != nil && (before == nil || before.id != now.id):
		name, _ := now.texts()
		u.desktop.TellDefault(uid, name)
	}
}
