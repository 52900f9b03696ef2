package sbus

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names and paths of the contract. Paths, interfaces and the methods of SSSD
// 1.16 are kept; what is ours is marked so in README.md.
const (
	MonitorPath dbus.ObjectPath = "/org/freedesktop/sssd/monitor"
	ServicePath dbus.ObjectPath = "/org/freedesktop/sssd/service"

	MonitorName      = "sssd.monitor"
	MonitorInterface = "org.freedesktop.sssd.monitor"
	ServiceInterface = "org.freedesktop.sssd.service"

	// MonitorVersion is what getVersion and RegisterService return.
	MonitorVersion uint16 = 1
	// ServiceVersion and TypeService are what a responder registers with.
	ServiceVersion uint16 = 1
	TypeService    uint16 = 0

	reservedNames = "sssd."
)

// ServiceName is the bus name of a responder: sssd.kcm for kcm.
func ServiceName(name string) string { return reservedNames + name }

// ResponderPath is the object from which a responder sends signals of its own.
func ResponderPath(name string) dbus.ObjectPath {
	return dbus.ObjectPath("/org/freedesktop/sssd/" + name)
}

// ResponderInterface is the interface of a responder's own signals.
func ResponderInterface(name string) string { return "org.freedesktop.sssd." + name }

// ServiceStatus is what the monitor knows of one service. Its fields are, in
// this order, the members of a D-Bus struct.
type ServiceStatus struct {
	Name       string // "kcm"
	State      string // a word for a person, such as "running"
	PID        uint32 // 0 if no process runs
	Since      int64  // when the state was entered, Unix seconds
	Generation uint64 // of the configuration it runs with
	DebugLevel uint32 // mask
	Restarts   uint32 // by the monitor, since the monitor started
	LastExit   string // how the last process ended; "" if none did
	Socket     string // path clients connect to
}

// The states of a service. The first in ListServices is sssd itself, which is
// starting until all its sockets answer and no responder is left that runs with
// an older configuration.
const (
	StateIdle     = "waiting for a client"
	StateStarting = "starting"
	StateRunning  = "running"
	StateEnding   = "ending"
	StateBackOff  = "waiting to restart"
)

const statusType = "(ssuxtuuss)"

// Monitor is what the monitor does when it is called over the bus. A service is
// named as in sssd.conf ("kcm"); "sssd" is the monitor itself. A debug level is
// a mask of bits. Functions may return an [*Error].
type Monitor struct {
	// RegisterService takes note that the caller serves as the named service.
	RegisterService func(ctx context.Context, caller Caller, name string, version, kind uint16) error
	ListServices    func() []ServiceStatus
	SetDebugLevel   func(ctx context.Context, service string, level uint32) error
	// RotateLogs reopens the logs of the monitor and of every service.
	RotateLogs func(ctx context.Context) error
	// Restart checks sssd.conf and, if that is right, starts the monitor again
	// in its process, with the sockets open all the while.
	Restart    func(ctx context.Context) error
	Version    string // of the program
	Metrics    func() []Metric
	Replaced   func() bool   // another program is installed where that of the process was
	Generation func() uint64 // of the configuration
	Since      time.Time
}

// MonitorObject declares the monitor's object.
func MonitorObject(m Monitor) Object {
	return Object{Path: MonitorPath, Interfaces: []Interface{{
		Name: MonitorInterface,
		Methods: []Method{
			{Name: "getVersion", Out: []Arg{{"version", "q"}}, Call: constant(MonitorVersion)},
			{Name: "RegisterService", In: []Arg{{"name", "s"}, {"version", "q"}, {"type", "q"}}, Out: []Arg{{"version", "q"}},
				Call: func(ctx context.Context, caller Caller, args []any) ([]any, error) {
					err := m.RegisterService(ctx, caller, args[0].(string), args[1].(uint16), args[2].(uint16))
					return []any{MonitorVersion}, err
				}},
			{Name: "ListServices", Out: []Arg{{"services", "a" + statusType}}, Call: func(context.Context, Caller, []any) ([]any, error) {
				return []any{m.ListServices()}, nil
			}},
			{Name: "GetService", In: []Arg{{"name", "s"}}, Out: []Arg{{"status", statusType}}, Call: m.getService},
			{Name: "SetDebugLevel", In: []Arg{{"service", "s"}, {"level", "u"}}, Call: func(ctx context.Context, _ Caller, args []any) ([]any, error) {
				return nil, m.SetDebugLevel(ctx, args[0].(string), args[1].(uint32))
			}},
			{Name: "RotateLogs", Call: action(m.RotateLogs)},
			{Name: "Restart", Call: action(m.Restart)},
			{Name: "Metrics", Out: []Arg{{"metrics", metricsType}}, Call: func(context.Context, Caller, []any) ([]any, error) {
				return []any{m.Metrics()}, nil
			}},
		},
		Properties: []Property{
			{Name: "Version", Signature: "s", Get: func() any { return m.Version }},
			{Name: "Replaced", Signature: "b", Get: func() any { return m.Replaced() }},
			{Name: "Generation", Signature: "t", Get: func() any { return m.Generation() }},
			{Name: "Since", Signature: "x", Get: func() any { return m.Since.Unix() }},
		},
	}}}
}

func (m Monitor) getService(_ context.Context, _ Caller, args []any) ([]any, error) {
	for _, status := range m.ListServices() {
		if status.Name == args[0] {
			return []any{status}, nil
		}
	}
	return nil, Errorf(ErrorNotFound, "no service is named %q", args[0])
}

// Service is what a responder does when it is called over the bus.
type Service struct {
	RotateLogs func(ctx context.Context) error
	// Reload takes over the live options of the configuration database.
	Reload func(ctx context.Context) error
	// Drain makes the responder finish what it has accepted and end. Until it
	// returns, other calls of the monitor wait; pings do not.
	Drain    func(ctx context.Context) error
	Counters func() map[string]uint64
	// Metrics returns all that the process counts.
	Metrics func() []Metric
	// Options returns the options in force, by section and key of sssd.conf.
	Options       func() map[string]map[string]string
	DebugLevel    func() uint32 // mask
	SetDebugLevel func(mask uint32) error
	Generation    func() uint64 // of the configuration
	// Volatile reports whether the process has the only copy of something.
	Volatile func() bool
	// Replaced reports whether another program is installed where that of the
	// process was.
	Replaced func() bool
	// Pending are the options, as "[section] key", of the configuration that come
	// into force only when the responder starts again.
	Pending func() []string
	Version string // of the program
	Since   time.Time
}

// ServiceObject declares the object every responder has. Of the methods of SSSD
// 1.16, those that are about domains, the memory cache or the system bus are
// declared but not supported: no responder here has any of these.
func ServiceObject(s Service) Object {
	return Object{Path: ServicePath, Interfaces: []Interface{{
		Name: ServiceInterface,
		Methods: []Method{
			// Nothing to do: the resolver of Go notices a new resolv.conf by itself.
			{Name: "resInit", Call: constant()},
			{Name: "goOffline"},
			{Name: "resetOffline"},
			{Name: "rotateLogs", Call: action(s.RotateLogs)},
			{Name: "clearMemcache"},
			{Name: "clearEnumCache"},
			{Name: "sysbusReconnect"},
			{Name: "Reload", Call: action(s.Reload)},
			{Name: "Drain", Call: action(s.Drain)},
			{Name: "Counters", Out: []Arg{{"counters", "a{st}"}}, Call: func(context.Context, Caller, []any) ([]any, error) {
				return []any{s.Counters()}, nil
			}},
			{Name: "Metrics", Out: []Arg{{"metrics", metricsType}}, Call: func(context.Context, Caller, []any) ([]any, error) {
				return []any{s.Metrics()}, nil
			}},
			{Name: "Options", Out: []Arg{{"options", "a{sa{ss}}"}}, Call: func(context.Context, Caller, []any) ([]any, error) {
				return []any{s.Options()}, nil
			}},
		},
		Properties: []Property{
			{Name: "debug_level", Signature: "u", Get: func() any { return s.DebugLevel() }, Set: func(v any) error { return s.SetDebugLevel(v.(uint32)) }},
			{Name: "Generation", Signature: "t", Get: func() any { return s.Generation() }},
			{Name: "Since", Signature: "x", Get: func() any { return s.Since.Unix() }},
			{Name: "Volatile", Signature: "b", Get: func() any { return s.Volatile() }},
			{Name: "Replaced", Signature: "b", Get: func() any { return s.Replaced() }},
			{Name: "Pending", Signature: "as", Get: func() any { return s.Pending() }},
			{Name: "Version", Signature: "s", Get: func() any { return s.Version }},
		},
	}}}
}

// ResponderObject declares the object of a responder's own interface, from
// which it sends signals about its own business, and its methods; for a
// responder that has neither, an object without interfaces.
func ResponderObject(name string, signals []Signal, methods []Method) Object {
	object := Object{Path: ResponderPath(name)}
	if len(signals)+len(methods) > 0 {
		object.Interfaces = []Interface{{Name: ResponderInterface(name), Signals: signals, Methods: methods}}
	}
	return object
}

// action is the handler of a method without arguments and results.
func action(run func(context.Context) error) func(context.Context, Caller, []any) ([]any, error) {
	return func(ctx context.Context, _ Caller, _ []any) ([]any, error) { return nil, run(ctx) }
}

// constant is the handler of a method that always returns the same.
func constant(results ...any) func(context.Context, Caller, []any) ([]any, error) {
	return func(context.Context, Caller, []any) ([]any, error) { return results, nil }
}
