package sbus

import (
	"bufio"
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// A tool may call a responder as soon as it can see it: the objects are there
// before the name is.
func TestObjectsAnswerBeforeTheNameIsKnown(t *testing.T) {
	callers := make(chan Caller, 1)
	s, path := startServer(t, Options{MayOwn: func(c Caller, _ string) bool {
		callers <- c
		return true
	}})
	first := make(chan error, 1)
	go func() {
		_, err := s.Call(context.Background(), (<-callers).Peer, ServicePath, ServiceInterface, "Counters")
		first <- err
	}()
	startResponder(t, path)
	if err := receive(t, "the answer", first); err != nil {
		t.Error(err)
	}
}

func TestEmittedSignalsArrive(t *testing.T) {
	s, path := startServer(t, Options{
		Objects: []Object{testObject()},
		MayOwn:  func(Caller, string) bool { return true },
	})
	kcm := startResponder(t, path)
	watcher, signals := godbusConn(t, path)
	if err := watcher.AddMatchSignal(dbus.WithMatchSender("sssd.kcm")); err != nil {
		t.Fatal(err)
	}
	if err := watcher.AddMatchSignal(dbus.WithMatchSender(MonitorName)); err != nil {
		t.Fatal(err)
	}
	if err := kcm.Emit(ResponderPath("kcm"), ResponderInterface("kcm"), "CacheCreated", uint32(1), "1:x", "\xffser@REALM"); err != nil {
		t.Fatal(err)
	}
	got := nextSignal(t, "org.freedesktop.sssd.kcm.CacheCreated", signals)
	if got.Sender != kcm.Name() || got.Body[2] != "\uFFFDser@REALM" {
		t.Errorf("signal is %v", got)
	}
	if err := s.Emit("/org/example/thing", "org.example.Thing", "Happened", "x"); err != nil {
		t.Fatal(err)
	}
	if got := nextSignal(t, "org.example.Thing.Happened", signals); got.Sender != selfName {
		t.Errorf("signal is %v", got)
	}
}

// A burst of signals, as when many caches expire at once, reaches who listens:
// it is taken from its sender no faster than the listener reads.
func TestABurstOfSignalsArrives(t *testing.T) {
	_, path := startMonitor(t)
	kcm := startResponder(t, path)
	watcher, signals := godbusConn(t, path)
	if err := watcher.AddMatchSignal(dbus.WithMatchInterface(ResponderInterface("kcm"))); err != nil {
		t.Fatal(err)
	}
	const burst = 10 * maxQueued
	var emitting sync.WaitGroup
	defer emitting.Wait()
	emitting.Go(func() {
		for sent := 0; sent < burst; {
			switch err := kcm.Emit(ResponderPath("kcm"), ResponderInterface("kcm"), "CacheDestroyed", uint32(sent), "1:x", "u@R"); {
			case err == nil:
				sent++
			case errors.Is(err, ErrQueueFull):
				runtime.Gosched()
			default:
				t.Error(err)
				return
			}
		}
	})
	for i := range uint32(burst) {
		if s := nextSignal(t, "org.freedesktop.sssd.kcm.CacheDestroyed", signals); s.Body[0] != i {
			t.Fatalf("signal %d is %v", i, s.Body)
		}
	}
}

// A monitor that does not read is cut off and delays nobody for long.
func TestAMonitorThatDoesNotReadIsCutOff(t *testing.T) {
	gone := make(chan Caller, 1)
	_, path := startServer(t, Options{Objects: []Object{new(fakeMonitor).object()}, Disconnected: func(c Caller) {
		select {
		case gone <- c:
		default:
		}
	}})
	observer, in := authenticatedConn(t, path)
	write(t, observer, 2, address{"", BusName, BusPath, monitoringInterface, "BecomeMonitor"}, []string{}, uint32(0))
	next(t, in)
	tool := dial(t, path)
	for len(gone) == 0 {
		if _, err := tool.Call(testContext(t), MonitorName, MonitorPath, MonitorInterface, "getVersion"); err != nil {
			t.Fatal(err)
		}
	}
	if c := <-gone; c.Name != ":1.1" {
		t.Errorf("gone is %+v", c)
	}
}

func TestAServerThatEndsIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- NewServer(Options{}).Serve(ctx, l) }()
	conn := dial(t, path)
	if conn.Err() != nil {
		t.Errorf("ended early: %v", conn.Err())
	}
	cancel()
	receive(t, "the end", conn.Done())
	if !errors.Is(conn.Err(), ErrClosed) {
		t.Errorf("ended with %v", conn.Err())
	}
	if _, err := conn.Call(testContext(t), BusName, BusPath, BusInterface, "GetId"); err == nil {
		t.Error("a call over a connection that has ended")
	}
	if err := receive(t, "the server's end", served); err != nil {
		t.Error(err)
	}
	if _, err := Dial(testContext(t), path, nil, nil); err == nil {
		t.Error("connected to nobody")
	}
}

// The answer of a handler that closes down the process is not lost with it.
func TestAnAnswerIsSentBeforeTheConnectionCloses(t *testing.T) {
	s, path := startServer(t, Options{})
	drained := make(chan struct{})
	conn := dial(t, path, ServiceObject(Service{Drain: func(context.Context) error {
		close(drained)
		return nil
	}}))
	go func() {
		<-drained
		conn.Close()
	}()
	owner, ok := s.Owner(conn.Name())
	if !ok {
		t.Fatal("no such peer")
	}
	if _, err := s.Call(testContext(t), owner.Peer, ServicePath, ServiceInterface, "Drain"); err != nil {
		t.Error(err)
	}
}

func TestDialHasADeadline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := Listen(path) // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := Dial(ctx, path, nil, nil)
		failed <- err
	}()
	accepted, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if _, err := accepted.Read(make([]byte, 1)); err != nil { // it waits for OK by now
		t.Fatal(err)
	}
	cancel()
	if err := receive(t, "the error", failed); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// TestOurClientWithAnotherBus holds our client against the reference bus.
func TestOurClientWithAnotherBus(t *testing.T) {
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skipf("NOT TESTED, this machine lacks dbus-daemon: %v", err)
	}
	path := filepath.Join(t.TempDir(), "bus")
	cmd := exec.CommandContext(testContext(t), "dbus-daemon", "--session", "--nofork", "--print-address", "--address=unix:path="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	kcm := startResponder(t, path)
	tool := dial(t, path)
	body, err := tool.Call(testContext(t), "sssd.kcm", ServicePath, ServiceInterface, "Counters")
	if err != nil || body[0].(map[string]uint64)["requests"] != 3 {
		t.Errorf("answer is %v, %v", body, err)
	}
	if !strings.HasPrefix(kcm.Name(), ":1.") {
		t.Errorf("name is %q", kcm.Name())
	}
	if err := tool.RequestName(testContext(t), "sssd.kcm"); err == nil {
		t.Error("a name was given twice")
	}
}

// BenchmarkCall is the round trip of a call to the monitor.
func BenchmarkCall(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bus")
	l, err := Listen(path)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	s := NewServer(Options{Objects: []Object{new(fakeMonitor).object()}})
	go func() { served <- s.Serve(ctx, l) }()
	defer func() { cancel(); <-served }()
	conn, err := Dial(ctx, path, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	for b.Loop() {
		if _, err := conn.Call(ctx, MonitorName, MonitorPath, MonitorInterface, "getVersion"); err != nil {
			b.Fatal(err)
		}
	}
}
