package sbus

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"
)

// nextSignal returns the next signal of that member.
func nextSignal(t *testing.T, member string, from <-chan *dbus.Signal) *dbus.Signal {
	t.Helper()
	for {
		if s := receive(t, "signal "+member, from); s.Name == member {
			return s
		}
	}
}

func TestNameOwnerChangedIsAsTheSpecificationHasIt(t *testing.T) {
	_, path := startMonitor(t)
	watcher, signals := godbusConn(t, path)
	if err := watcher.AddMatchSignal(dbus.WithMatchSender(BusName), dbus.WithMatchMember("NameOwnerChanged")); err != nil {
		t.Fatal(err)
	}
	const changed = "org.freedesktop.DBus.NameOwnerChanged"
	expect := func(want ...any) {
		t.Helper()
		if got := nextSignal(t, changed, signals); got.Sender != BusName || !slices.Equal(got.Body, want) {
			t.Errorf("signal of %s is %v, want %v", got.Sender, got.Body, want)
		}
	}
	kcm := dial(t, path)
	expect(kcm.Name(), "", kcm.Name())
	if err := kcm.RequestName(testContext(t), "sssd.kcm"); err != nil {
		t.Fatal(err)
	}
	expect("sssd.kcm", "", kcm.Name())
	kcm.Close()
	expect("sssd.kcm", kcm.Name(), "")
	expect(kcm.Name(), kcm.Name(), "")
}

func TestOwnersAreToldOfTheirNames(t *testing.T) {
	_, path := startMonitor(t)
	first, signals := godbusConn(t, path)
	const acquired, lost = "org.freedesktop.DBus.NameAcquired", "org.freedesktop.DBus.NameLost"
	if _, err := first.RequestName("org.example.X", dbus.NameFlagAllowReplacement); err != nil {
		t.Fatal(err)
	}
	got := nextSignal(t, acquired, signals)
	if got.Body[0] != "org.example.X" { // its unique name may come first
		got = nextSignal(t, acquired, signals)
	}
	if got.Body[0] != "org.example.X" {
		t.Fatal("the name is not acquired") // its unique name may come first
	}
	second, _ := godbusConn(t, path)
	if reply, err := second.RequestName("org.example.X", dbus.NameFlagReplaceExisting); err != nil || reply != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(reply, err)
	}
	if got := nextSignal(t, lost, signals); got.Body[0] != "org.example.X" {
		t.Errorf("lost %v", got.Body)
	}
	if _, err := second.ReleaseName("org.example.X"); err != nil {
		t.Fatal(err)
	}
	if got := nextSignal(t, acquired, signals); got.Body[0] != "org.example.X" {
		t.Errorf("acquired %v again", got.Body)
	}
}

func TestReservedNamesNeedConsent(t *testing.T) {
	var asked Caller
	_, path := startServer(t, Options{MayOwn: func(c Caller, name string) bool {
		asked = c
		return name == "sssd.kcm"
	}})
	conn := dial(t, path)
	tests := []struct{ name, fails string }{
		{"sssd.kcm", ""},
		{"sssd.nss", ErrorAccessDenied},
		{"org.freedesktop.DBus", ErrorAccessDenied},
		{"org.example.free", ""},
		{":1.5", ErrorInvalidArgs},
		{"nodots", ErrorInvalidArgs},
	}
	for _, tc := range tests {
		err := conn.RequestName(testContext(t), tc.name)
		if got := errorName(err); got != tc.fails {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if asked.Name != conn.Name() || asked.PID != int32(os.Getpid()) || asked.UID != uint32(os.Geteuid()) || asked.Peer == 0 {
		t.Errorf("asked about %+v", asked)
	}
}

func TestTheMonitorsNameIsItsOwn(t *testing.T) {
	_, path := startMonitor(t)
	if err := dial(t, path).RequestName(testContext(t), MonitorName); err == nil {
		t.Error("it was given away")
	}
}

func errorName(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Name
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestCallsBetweenPeers(t *testing.T) {
	_, path := startMonitor(t)
	kcm := startResponder(t, path)
	tool := dial(t, path)
	call := func(dest string, path dbus.ObjectPath, iface, method string, args ...any) ([]any, string) {
		body, err := tool.Call(testContext(t), dest, path, iface, method, args...)
		return body, errorName(err)
	}
	tests := map[string]struct {
		dest, iface, method string
		path                dbus.ObjectPath
		args                []any
		want                []any
		fails               string
	}{
		"a call by well-known name is answered": {
			dest: "sssd.kcm", path: ServicePath, iface: ServiceInterface, method: "rotateLogs",
		},
		"a call by unique name is answered": {
			dest: kcm.Name(), path: ServicePath, iface: PropertiesInterface, method: "Get",
			args: []any{ServiceInterface, "Generation"}, want: []any{dbus.MakeVariant(uint64(7))},
		},
		"an error keeps its name on the way": {
			dest: "sssd.kcm", path: ServicePath, iface: ServiceInterface, method: "goOffline", fails: ErrorNotSupported,
		},
		"nobody has that name": {
			dest: "sssd.nss", path: ServicePath, iface: ServiceInterface, method: "rotateLogs", fails: ErrorServiceUnknown,
		},
		"nobody has that unique name": {
			dest: ":1.999", path: ServicePath, iface: ServiceInterface, method: "rotateLogs", fails: ErrorServiceUnknown,
		},
		"the monitor answers by its name": {
			dest: MonitorName, path: MonitorPath, iface: MonitorInterface, method: "getVersion", want: []any{MonitorVersion},
		},
		"the monitor answers by its unique name": {
			dest: selfName, path: MonitorPath, iface: MonitorInterface, method: "getVersion", want: []any{MonitorVersion},
		},
		"the monitor answers without a name, as in SSSD 1.16": {
			path: MonitorPath, iface: MonitorInterface, method: "getVersion", want: []any{MonitorVersion},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			body, fails := call(tc.dest, tc.path, tc.iface, tc.method, tc.args...)
			if fails != tc.fails || !slices.Equal(body, tc.want) {
				t.Errorf("answer is %v, %q", body, fails)
			}
		})
	}
}

func TestTheServerCallsItsPeers(t *testing.T) {
	s, path := startMonitor(t)
	startResponder(t, path)
	owner, ok := s.Owner("sssd.kcm")
	if !ok {
		t.Fatal("sssd.kcm has no owner")
	}
	if _, err := s.Call(testContext(t), owner.Peer, ServicePath, PropertiesInterface, "Set", ServiceInterface, "debug_level", dbus.MakeVariant(uint32(0x3f0))); err != nil {
		t.Fatal(err)
	}
	body, err := s.Call(testContext(t), owner.Peer, ServicePath, PropertiesInterface, "Get", ServiceInterface, "debug_level")
	if err != nil || body[0] != dbus.MakeVariant(uint32(0x3f0)) {
		t.Errorf("level is %v, %v", body, err)
	}
	if _, err := s.Call(testContext(t), 999, ServicePath, PeerInterface, "Ping"); !errors.Is(err, ErrNoPeer) {
		t.Errorf("a peer that is not there: %v", err)
	}
	if _, ok := s.Owner(MonitorName); ok {
		t.Error("the server is no peer of its own")
	}
}

func TestWhoCallsAPeerThatLeavesIsTold(t *testing.T) {
	called, release := make(chan struct{}), make(chan struct{})
	stuck := Object{Path: "/x", Interfaces: []Interface{{Name: "a.b", Methods: []Method{{
		Name: "Hang", Call: func(ctx context.Context, _ Caller, _ []any) ([]any, error) {
			close(called)
			<-ctx.Done()
			<-release
			return nil, ctx.Err()
		},
	}}}}}
	_, path := startMonitor(t)
	service := dial(t, path, stuck)
	tool := dial(t, path)
	failed := make(chan error, 1)
	go func() {
		_, err := tool.Call(testContext(t), service.Name(), "/x", "a.b", "Hang")
		failed <- err
	}()
	receive(t, "call", called)
	_ = service.link.conn.Close() // as if the process had died
	if err := receive(t, "error", failed); errorName(err) != ErrorNoReply {
		t.Errorf("error is %v", err)
	}
	close(release)
}

func TestDisconnectedIsToldOncePerPeer(t *testing.T) {
	gone := make(chan Caller, 10)
	_, path := startServer(t, Options{Disconnected: func(c Caller) { gone <- c }})
	conn := dial(t, path)
	rawConn(t, path).Close() // never authenticated: not worth telling
	name := conn.Name()
	conn.Close()
	if c := receive(t, "the news", gone); c.Name != name || c.Peer == 0 {
		t.Errorf("gone is %+v, want %s", c, name)
	}
	if len(gone) != 0 {
		t.Errorf("then %+v", <-gone)
	}
}

func TestMonitorsSeeEverythingAndSayNothing(t *testing.T) {
	_, path := startMonitor(t)
	observer := dial(t, path)
	if _, err := observer.Call(testContext(t), BusName, BusPath, monitoringInterface, "BecomeMonitor", []string{"interface='a.b'", "member='getVersion'"}, uint32(0)); err != nil {
		t.Fatal(err)
	}
	t.Run("it has lost its name", func(t *testing.T) {
		tool := dial(t, path)
		body, err := tool.Call(testContext(t), BusName, BusPath, BusInterface, "NameHasOwner", observer.Name())
		if err != nil || body[0] != false {
			t.Errorf("%v, %v", body, err)
		}
		if _, err := tool.Call(testContext(t), MonitorName, MonitorPath, MonitorInterface, "getVersion"); err != nil {
			t.Error(err)
		}
	})
	t.Run("it is cut off when it speaks", func(t *testing.T) {
		if _, err := observer.Call(testContext(t), "", MonitorPath, MonitorInterface, "getVersion"); !errors.Is(err, ErrClosed) {
			t.Errorf("error is %v", err)
		}
		receive(t, "the end", observer.Done())
	})
}
