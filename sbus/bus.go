package sbus

import (
	"context"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// The message bus itself (D-Bus Specification, "Message Bus Specification").
const (
	BusName                      = "org.freedesktop.DBus"
	BusPath      dbus.ObjectPath = "/org/freedesktop/DBus"
	BusInterface                 = "org.freedesktop.DBus"

	monitoringInterface = "org.freedesktop.DBus.Monitoring"
)

// maxNames bounds the names one connection may own or wait for.
const maxNames = 16

// busObject declares the bus. Its methods run on the reader of the calling
// connection, before the next message of that connection is looked at.
func (s *Server) busObject() Object {
	name, pid := []Arg{{"name", "s"}}, []Arg{{"pid", "u"}}
	ownerChange := []Arg{{"name", "s"}, {"old_owner", "s"}, {"new_owner", "s"}}
	return Object{Path: BusPath, Interfaces: []Interface{{
		Name: BusInterface,
		Methods: []Method{
			{Name: "Hello", Out: []Arg{{"unique_name", "s"}}, Call: s.hello},
			{Name: "RequestName", In: []Arg{{"name", "s"}, {"flags", "u"}}, Out: []Arg{{"result", "u"}}, Call: s.requestName},
			{Name: "ReleaseName", In: name, Out: []Arg{{"result", "u"}}, Call: s.releaseName},
			{Name: "StartServiceByName", In: []Arg{{"name", "s"}, {"flags", "u"}}, Out: []Arg{{"result", "u"}}, Call: s.startService},
			{Name: "NameHasOwner", In: name, Out: []Arg{{"has_owner", "b"}}, Call: s.nameHasOwner},
			{Name: "GetNameOwner", In: name, Out: []Arg{{"unique_name", "s"}}, Call: s.getNameOwner},
			{Name: "ListNames", Out: []Arg{{"names", "as"}}, Call: s.listNames},
			{Name: "ListActivatableNames", Out: []Arg{{"names", "as"}}, Call: constant([]string{})},
			{Name: "ListQueuedOwners", In: name, Out: []Arg{{"names", "as"}}, Call: s.listQueuedOwners},
			{Name: "GetConnectionUnixUser", In: name, Out: []Arg{{"uid", "u"}}, Call: s.connectionUser},
			{Name: "GetConnectionUnixProcessID", In: name, Out: pid, Call: s.connectionProcess},
			{Name: "GetConnectionCredentials", In: name, Out: []Arg{{"credentials", "a{sv}"}}, Call: s.connectionCredentials},
			{Name: "AddMatch", In: []Arg{{"rule", "s"}}, Call: s.addMatch},
			{Name: "RemoveMatch", In: []Arg{{"rule", "s"}}, Call: s.removeMatch},
			{Name: "GetId", Out: []Arg{{"id", "s"}}, Call: constant(s.guid)},
		},
		Properties: []Property{
			{Name: "Features", Signature: "as", Get: func() any { return []string{} }},
			{Name: "Interfaces", Signature: "as", Get: func() any { return []string{monitoringInterface} }},
		},
		Signals: []Signal{
			{Name: "NameOwnerChanged", Args: ownerChange},
			{Name: "NameAcquired", Args: name},
			{Name: "NameLost", Args: name},
		},
	}, {
		Name:    monitoringInterface,
		Methods: []Method{{Name: "BecomeMonitor", In: []Arg{{"rules", "as"}, {"flags", "u"}}, Call: s.becomeMonitor}},
	}}}
}

// callBus calls the bus and answers.
func (s *Server) callBus(ctx context.Context, p *peer, f *frame) {
	if f.kind != dbus.TypeMethodCall {
		p.log.Debug("ignoring a message to the bus that is no call", "type", f.kind)
		return
	}
	hadName := p.named
	results, err := s.bus.call(ctx, p.caller(), f)
	s.reply(p, f, reply{sender: BusName, results: results, err: err})
	if p.named && !hadName { // sd-bus wants to see the reply to Hello before anything else
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tell(p, "NameAcquired", p.unique())
	}
}

func isHello(f *frame) bool {
	return f.kind == dbus.TypeMethodCall && f.text(dbus.FieldMember) == "Hello" && f.text(dbus.FieldDestination) == BusName
}

func (s *Server) hello(_ context.Context, caller Caller, _ []any) ([]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[caller.Peer]
	if p.named {
		return nil, Errorf(ErrorFailed, "Hello was said already")
	}
	p.named = true
	s.tell(nil, "NameOwnerChanged", p.unique(), "", p.unique())
	return []any{p.unique()}, nil
}

func (s *Server) requestName(_ context.Context, caller Caller, args []any) ([]any, error) {
	name, flags := args[0].(string), nameFlags(args[1].(uint32))
	if !validName(name) {
		return nil, Errorf(ErrorInvalidArgs, "%q is no name a connection can own", name)
	}
	if name == BusName || strings.HasPrefix(name, reservedNames) && !s.opts.MayOwn(caller, name) {
		return nil, Errorf(ErrorAccessDenied, "process %d of user %d may not own %s", caller.PID, caller.UID, name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.names.claimedBy(caller.Name)) >= maxNames {
		return nil, Errorf(ErrorLimitsExceeded, "a connection may own %d names", maxNames)
	}
	result, changed := s.names.request(name, caller.Name, flags)
	s.announce(changed)
	return []any{result}, nil
}

func (s *Server) releaseName(_ context.Context, caller Caller, args []any) ([]any, error) {
	name := args[0].(string)
	if !validName(name) || name == BusName {
		return nil, Errorf(ErrorInvalidArgs, "%q is no name a connection can own", name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	result, changed := s.names.release(name, caller.Name)
	s.announce(changed)
	return []any{result}, nil
}

func (s *Server) addMatch(_ context.Context, caller Caller, args []any) ([]any, error) {
	r, err := parseRule(args[0].(string))
	if err != nil {
		return nil, Errorf(ErrorMatchRuleInvalid, "%v", err)
	}
	if r.eavesdrop {
		return nil, Errorf(ErrorAccessDenied, "nobody eavesdrops here; there is BecomeMonitor")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[caller.Peer]
	if len(p.rules) >= maxRules {
		return nil, Errorf(ErrorLimitsExceeded, "a connection may have %d match rules", maxRules)
	}
	p.rules = append(p.rules, r)
	return nil, nil
}

func (s *Server) removeMatch(_ context.Context, caller Caller, args []any) ([]any, error) {
	r, err := parseRule(args[0].(string))
	if err != nil {
		return nil, Errorf(ErrorMatchRuleInvalid, "%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[caller.Peer]
	i := slices.IndexFunc(p.rules, r.equal)
	if i < 0 {
		return nil, Errorf(ErrorMatchRuleNotFound, "no such match rule")
	}
	p.rules = slices.Delete(p.rules, i, i+1)
	return nil, nil
}

// becomeMonitor turns the caller into a silent observer of all messages. Whoever
// is admitted to this bus may be one.
func (s *Server) becomeMonitor(_ context.Context, caller Caller, args []any) ([]any, error) {
	texts := args[0].([]string)
	if len(texts) > maxRules || args[1].(uint32) != 0 {
		return nil, Errorf(ErrorInvalidArgs, "at most %d rules, and no flags", maxRules)
	}
	var rules []rule
	for _, t := range texts {
		r, err := parseRule(t)
		if err != nil {
			return nil, Errorf(ErrorMatchRuleInvalid, "%v", err)
		}
		rules = append(rules, r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[caller.Peer]
	s.releaseNames(p)
	p.monitoring, p.rules = true, rules
	return nil, nil
}

// releaseNames gives up the names of a connection, which is gone or becomes a monitor.
func (s *Server) releaseNames(p *peer) {
	s.announce(s.names.releaseAll(p.unique()))
	if p.named && !p.monitoring {
		s.announce([]change{{name: p.unique(), from: p.unique()}})
	}
}

// announce tells of names that have passed to another owner: first everyone who
// has asked for it, then the owners.
func (s *Server) announce(changes []change) {
	for _, c := range changes {
		s.tell(nil, "NameOwnerChanged", c.name, c.from, c.to)
		if from := s.lookup(c.from); from != nil {
			s.tell(from, "NameLost", c.name)
		}
		if to := s.lookup(c.to); to != nil {
			s.tell(to, "NameAcquired", c.name)
		}
	}
}

// tell sends a signal of the bus.
func (s *Server) tell(to *peer, member string, names ...any) {
	if err := s.signal(to, address{sender: BusName, path: BusPath, iface: BusInterface, member: member}, names); err != nil {
		s.opts.Log.Error("cannot send a signal of the bus", "signal", member, "error", err)
	}
}
