package sbus

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/hashicorp/go-hclog"
)

// patience bounds every wait of the tests; none needs it.
const patience = 10 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startServer serves until the test ends and returns the path of the socket.
func startServer(t *testing.T, opts Options) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(opts)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, path
}

// fakeMonitor is a monitor that remembers what it was asked for.
type fakeMonitor struct {
	mu         sync.Mutex
	registered []string
	level      uint32
}

var testServices = []ServiceStatus{
	{Name: "kcm", State: "running", PID: 42, Since: 1700000000, Generation: 7, DebugLevel: 0x70, Socket: "/run/kcm"},
	{Name: "secrets", State: "idle", Restarts: 2, LastExit: "exit status 1", Socket: "/run/secrets"},
}

func (m *fakeMonitor) object() Object {
	return MonitorObject(Monitor{
		RegisterService: func(_ context.Context, _ Caller, name string, _, _ uint16) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.registered = append(m.registered, name)
			return nil
		},
		ListServices: func() []ServiceStatus { return testServices },
		SetDebugLevel: func(_ context.Context, service string, level uint32) error {
			if service != "kcm" {
				return Errorf(ErrorNotFound, "no service is named %q", service)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.level = level
			return nil
		},
		RotateLogs: func(context.Context) error { return nil },
		Version:    "3.0", Replaced: func() bool { return false },
		Generation: func() uint64 { return 7 },
		Since:      time.Unix(1700000000, 0),
	})
}

// startMonitor serves a fakeMonitor and lets anyone own any name.
func startMonitor(t *testing.T) (*Server, string) {
	t.Helper()
	return startServer(t, Options{
		Objects: []Object{new(fakeMonitor).object()},
		MayOwn:  func(Caller, string) bool { return true },
	})
}

// fakeService is a responder in memory.
type fakeService struct {
	mu    sync.Mutex
	level uint32
}

func (f *fakeService) object() Object {
	nothing := func(context.Context) error { return nil }
	return ServiceObject(Service{
		RotateLogs: nothing, Reload: nothing, Drain: nothing,
		Counters: func() map[string]uint64 { return map[string]uint64{"requests": 3} },
		DebugLevel: func() uint32 {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.level
		},
		SetDebugLevel: func(mask uint32) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.level = mask
			return nil
		},
		Generation: func() uint64 { return 7 },
		Since:      time.Unix(1700000000, 0),
	})
}

// cacheSignals are such as the kcm responder sends.
func cacheSignals() Object {
	args := []Arg{{"uid", "u"}, {"name", "s"}, {"principal", "s"}}
	return ResponderObject("kcm", []Signal{{"CacheCreated", args}, {"CacheChanged", args}, {"CacheDestroyed", args}}, nil)
}

// startResponder attaches a kcm responder to the bus.
func startResponder(t *testing.T, path string) *Conn {
	t.Helper()
	conn := dial(t, path, new(fakeService).object(), cacheSignals())
	if err := conn.RequestName(testContext(t), ServiceName("kcm")); err != nil {
		t.Fatal(err)
	}
	return conn
}

func dial(t *testing.T, path string, objects ...Object) *Conn {
	t.Helper()
	conn, err := Dial(testContext(t), path, objects, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// godbusConn is a client that is not ours, for what ours does not do: it
// receives signals.
func godbusConn(t *testing.T, path string) (*dbus.Conn, chan *dbus.Signal) {
	t.Helper()
	conn, err := dbus.Connect("unix:path=" + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	signals := make(chan *dbus.Signal, 100*maxQueued) // godbus gives up the order when it is full
	conn.Signal(signals)
	return conn, signals
}

// rawConn is a bare connection for peers that misbehave.
func rawConn(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}
