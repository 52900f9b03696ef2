package kcm

import (
	"gosssd/confdb"
	"gosssd/kcm/hook"
	"gosssd/kcm/hook/launch"
	"gosssd/kcm/protocol"
	"gosssd/responder"
	"gosssd/responder/metric"
)

// Keys of the options of hooks.
const (
	hookKey        = "ticket_hook"
	hookTimeoutKey = "ticket_hook_timeout"
	hookRootKey    = "ticket_hook_root"
)

// hookDir is where units of a template find their events, below the root.
const hookDir = "/run/sssd_kcm/ticket_hook"

func hookOptions() []confdb.Option {
	return []confdb.Option{
		{Key: hookKey, Kind: confdb.String,
			Text: "A program (absolute path), or a template of systemd units (NAME@.service), that is started as the user when a ticket is new, renewed, about to expire, or its cache is removed; see HOOKS in sssd-kcm(8)"},
		{Key: hookTimeoutKey, Kind: confdb.Duration, Default: "30", Unit: "s", Min: 1, Max: 3600,
			Text: "How long ticket_hook may take; then it is killed"},
		{Key: hookRootKey, Kind: confdb.Bool, Default: "false",
			Text: "Start ticket_hook for root's own caches as well, as root"},
	}
}

// hooksTickets reports whether somebody is to be told what becomes of tickets.
func hooksTickets(conf *confdb.Snapshot) bool {
	return conf.Section(section).String(hookKey) != ""
}

// checkHook says why ticket_hook cannot be started.
func checkHook(conf *confdb.Snapshot) []responder.Remark {
	value := conf.Section(section).String(hookKey)
	if value == "" {
		return nil
	}
	if problem := launch.Check(value); problem != "" {
		return []responder.Remark{{Section: section, Key: hookKey, Text: problem}}
	}
	return nil
}

// systemdRuns reports whether hooks are systemd's to start.
func systemdRuns(root responder.Root) bool { return launch.Booted() && !root.Within() }

// hooking is the part of a Server that tells a program what becomes of tickets.
// It implements hook.Log.
type hooking struct {
	*hook.Hooks
	server *Server
}

// newHooking returns nil where nobody is to be told.
func newHooking(s *Server, service *responder.Service) *hooking {
	options := service.Conf.Section(section)
	value, timeout := options.String(hookKey), options.Duration(hookTimeoutKey)
	if value == "" {
		return nil
	}
	starter := launch.New(value, service.Root.Path(hookDir), systemdRuns(service.Root), timeout)
	h := &hooking{server: s}
	h.Hooks = hook.New(starter, h, s.now, hook.Options{Timeout: timeout, Root: options.Bool(hookRootKey)})
	return h
}

// learn is told every state of a user that is loaded or published.
func (h *hooking) learn(uid uint32, s *state) {
	if h == nil {
		return
	}
	caches := make([]hook.Cache, len(s.caches))
	for i, c := range s.caches {
		caches[i] = c.hooked()
	}
	h.Learn(uid, caches)
}

// hooked is what hooks must know of the cache.
func (c *cache) hooked() hook.Cache {
	known := hook.Cache{ID: c.id, Name: c.name, Offset: int64(c.offset)}
	if c.principal != nil {
		r := protocol.NewReader(c.principal)
		known.Principal = r.Principal().String()
	}
	line, _ := c.lifetime()
	if line == nil || line.Times.End == 0 || !isOwnTGT(line) {
		return known
	}
	known.TGT = hook.Lifetime{Auth: int64(line.Times.Auth), Start: int64(line.Times.Begin()), End: int64(line.Times.End)}
	return known
}

// Failed implements hook.Log.
func (h *hooking) Failed(e hook.Event, err error) {
	h.server.users.log.Warn("a ticket hook has failed", "uid", e.UID, "event", string(e.Kind), "cache", e.Name, "error", err)
}

// LeftOut implements hook.Log.
func (h *hooking) LeftOut(e hook.Event, why string) {
	h.server.users.log.Warn("no ticket hook is started", "uid", e.UID, "event", string(e.Kind), "cache", e.Name, "reason", why)
}

// metrics tells how hooks go.
func (h *hooking) metrics() []metric.Family {
	if h == nil {
		return nil
	}
	counts := h.Counts()
	return []metric.Family{
		{Name: "gosssd_kcm_hooks", Kind: metric.Counter, Help: "Starts of the ticket hook, by what became of them", Samples: []metric.Sample{
			metric.Total("ok", "hooks run", counts.Run), metric.Total("failed", "hooks failed", counts.Failed), metric.Total("left_out", "hooks left out", counts.LeftOut),
		}},
		metric.One(metric.Gauge, "gosssd_kcm_waiting_hooks", "", "hooks waiting", "Events that wait for the ticket hook", float64(counts.Waiting)),
	}
}

// owed reports whether somebody is to be told of something.
func (h *hooking) owed() bool { return h != nil && h.Owed() }
