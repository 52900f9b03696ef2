package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/responder/metric"
	"gosssd/sbus"
)

// fakeVariable makes the test binary a responder that behaves as its value
// says: "obeys" does what its clients write, "dies" ends at once, "is silent"
// never registers.
const fakeVariable = "GOSSSD_FAKE_RESPONDER"

func TestMain(m *testing.M) {
	switch os.Getenv(fakeVariable) {
	case "":
		os.Exit(m.Run())
	case "obeys":
		os.Exit(responder.Main(fakeDescriptor(), func(*responder.Service) (responder.Handler, error) { return fake{}, nil }))
	case "dies":
		os.Exit(1)
	case "is silent":
		time.Sleep(time.Hour)
	}
}

func fakeDescriptor() responder.Descriptor {
	return responder.Descriptor{
		Name: "fake", Socket: "/run/fake.socket", SocketMode: 0o600, Refusal: refusal,
		Sections: []confdb.Section{{Name: "fake"}},
		Unasked:  func(*confdb.Snapshot) bool { return os.Getenv(fakeVariable+"_WORKS") != "" },
	}
}

// fake answers each line with its process number, after it has done what the
// line asks for.
type fake struct{}

func (fake) Serve(_ context.Context, c *responder.Conn) {
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		switch lines.Text() {
		case "exit 0":
			os.Exit(0)
		case "exit 1":
			os.Exit(1)
		case "crash":
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		case "hang":
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		case "descriptors":
			fmt.Fprintln(c, descriptors())
			continue
		}
		fmt.Fprintln(c, os.Getpid())
	}
}

// descriptors are what the descriptors of this process stand for.
func descriptors() string {
	entries, _ := os.ReadDir("/proc/self/fd")
	var list []string
	for _, entry := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			list = append(list, to)
		}
	}
	return strings.Join(list, " ")
}

func (fake) Reload(*confdb.Snapshot)  {}
func (fake) Metrics() []metric.Family { return nil }
func (fake) MayExit() bool            { return true }
func (fake) Close() error             { return nil }

// watched is a fake responder under the supervision of a monitor.
type watched struct {
	*service
	monitor *monitor
	t       *testing.T
}

func watch(t *testing.T, behaviour string, p timeouts) *watched {
	t.Helper()
	return watchFrom(t, behaviour, p, "1", &kept{}, func(string) {})
}

// watchFrom is watch with the option timeout, and what there is from before.
func watchFrom(t *testing.T, behaviour string, p timeouts, timeout string, k *kept, prepare func(root string)) *watched {
	t.Helper()
	t.Setenv(fakeVariable, behaviour)
	dir, err := os.MkdirTemp("", "sssd") // short: socket paths are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &flags{root: responder.Root(dir)}
	if err := f.root.MakeDirs(); err != nil {
		t.Fatal(err)
	}
	list := []responder.Descriptor{fakeDescriptor()}
	conf, err := confdb.NewSnapshot(responder.Schema(list), map[string]map[string]string{
		"fake": {"timeout": timeout, "force_timeout": "5"},
		"sssd": {"socket_activation": "monitor"},
	})
	if err != nil {
		t.Fatal(err)
	}
	instance, err := responder.Claim(f.root.Path(layout.Current().PIDFile))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = instance.Release() })
	prepare(dir)
	m := newMonitor(list, f, conf, log.To(t.Output(), log.Mask(6)), instance)
	s := m.services[0]
	s.timeouts = p
	s.argv = []string{os.Args[0], "--logger=stderr", "--root=" + dir}
	if behaviour == "missing" {
		s.argv[0] = dir + "/missing"
	}
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- m.run(ctx, k, func() { close(ready) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	return &watched{service: s, monitor: m, t: t}
}

// ask sends a line and returns the answer, "" if the responder ended over it.
func (w *watched) ask(line string) string {
	w.t.Helper()
	c, err := net.Dial("unix", w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	if _, err := io.WriteString(c, line+"\n"); errors.Is(err, syscall.EPIPE) {
		return w.ask(line) // as libkrb5 does
	} else if err != nil {
		w.t.Fatal(err)
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err != nil && os.IsTimeout(err) {
		w.t.Fatalf("%q is not answered", line)
	}
	return strings.TrimSpace(answer)
}

// send sends a line to which no answer is expected.
func (w *watched) send(line string) {
	w.t.Helper()
	c, err := net.Dial("unix", w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		w.t.Fatal(err)
	}
}

// await waits until the status is as it should be.
func (w *watched) await(what string, is func(sbus.ServiceStatus) bool) sbus.ServiceStatus {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		status, _ := w.status()
		if is(status) {
			return status
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not so, but %+v", what, status)
		}
	}
}

var shortTimeouts = timeouts{register: 5 * time.Second, healthy: time.Minute, step: time.Millisecond, longest: 10 * time.Millisecond, kill: 5 * time.Second,
	backlog: 10 * time.Millisecond, ping: 500 * time.Millisecond, hung: time.Second}

func TestAResponderThatEndsIsStartedForTheNextClient(t *testing.T) {
	for name, c := range map[string]struct {
		command  string
		lastExit string
		restarts uint32
		cause    cause
	}{
		"in order":     {"exit 0", "exit status 0", 0, causeExit},
		"with failure": {"exit 1", "exit status 1", 1, causeFailure},
		"by a signal":  {"crash", "signal: killed", 1, causeSignal},
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, "obeys", shortTimeouts)
			if w.ask("hello") == "" {
				t.Fatal("no answer")
			}
			w.await("it registers", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning })
			w.ask(c.command)
			status := w.await("it ends", func(s sbus.ServiceStatus) bool { return s.LastExit != "" })
			if status.LastExit != c.lastExit || status.Restarts != c.restarts {
				t.Errorf("last exit %q, restarts %d; want %q, %d", status.LastExit, status.Restarts, c.lastExit, c.restarts)
			}
			w.expectEnds(map[cause]float64{c.cause: 1})
			if w.ask("hello") == "" {
				t.Error("the next client is not answered")
			}
		})
	}
}

func TestAResponderThatHangsIsReplacedAndItsWaitingClientsServed(t *testing.T) {
	w := watch(t, "obeys", shortTimeouts)
	w.ask("hello")
	first := w.await("it registers", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning })
	began := time.Now()
	w.send("hang")
	w.await("it is stopped", func(sbus.ServiceStatus) bool {
		state, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", first.PID))
		return strings.Contains(string(state), ") T ")
	})
	if w.ask("hello") == "" { // in the backlog until the new one comes
		t.Error("a client that came meanwhile is not answered")
	}
	status := w.await("the new one registers", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning && s.PID != first.PID })
	t.Logf("replaced %v after it hung; %s", time.Since(began).Round(100*time.Millisecond), status.LastExit)
	if status.LastExit != "signal: killed" {
		t.Errorf("the last one ended by %q", status.LastExit)
	}
	w.expectEnds(map[cause]float64{causeHung: 1}) // and not by a signal as well
}

func TestAResponderThatDoesNotRegisterIsEnded(t *testing.T) {
	p := shortTimeouts
	p.register = 50 * time.Millisecond
	w := watch(t, "is silent", p)
	c, err := net.Dial("unix", w.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	status := w.await("it is ended", func(s sbus.ServiceStatus) bool { return s.Restarts >= 2 })
	if status.LastExit != "signal: terminated" {
		t.Errorf("it ended by %q", status.LastExit)
	}
}

func TestAResponderThatDiesAtOnceIsTriedForEver(t *testing.T) {
	w := watch(t, "dies", shortTimeouts)
	for range 20 {
		if got := w.ask("hello"); got != "unavailable" {
			t.Fatalf("answered %q", got)
		}
	}
	w.await("it is tried again and again", func(s sbus.ServiceStatus) bool {
		if s.State == sbus.StateBackOff {
			w.ask("hello")
		}
		return s.Restarts >= 20
	})
}

func TestTheBackOffGrowsToItsLimit(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		0: 0, 1: 0, 2: 2 * time.Second, 3: 4 * time.Second, 15: 28 * time.Second, 16: 30 * time.Second, 1000: 30 * time.Second,
	} {
		s := &service{failures: failures, timeouts: defaultTimeouts}
		if got := s.backOff(); got != want {
			t.Errorf("after %d failures in a row: %v, want %v", failures, got, want)
		}
	}
}

func TestAnExitIsNotHeldAgainstAHealthyResponder(t *testing.T) {
	s := &service{timeouts: defaultTimeouts, log: log.Discard(), registered: make(chan struct{})}
	for range 5 {
		s.ended(time.Second, fmt.Errorf("exit status 1"))
	}
	s.ended(31*time.Second, fmt.Errorf("exit status 1"))
	if got := s.backOff(); got != 0 {
		t.Errorf("a responder that lived long waits %v", got)
	}
}

func TestARegistrationBelongsToTheServicesProcess(t *testing.T) {
	s := &service{descriptor: fakeDescriptor(), claim: "/nonexistent", log: log.Discard(), pid: 4711, nextRegistration: make(chan struct{})}
	if _, err := s.register(sbus.Caller{PID: 4712}); err == nil {
		t.Error("another process may register")
	}
	if _, err := s.register(sbus.Caller{PID: 4711, Peer: 1}); err != nil {
		t.Error(err)
	}
}

// A responder with work to do is started without clients, and again after a
// failure; when it has ended by itself, the work is done.
func TestAResponderWithWorkIsStartedWithoutClients(t *testing.T) {
	t.Setenv(fakeVariable+"_WORKS", "yes")
	w := watch(t, "obeys", shortTimeouts)
	var before uint32
	for _, command := range []string{"exit 1", "crash", "hang"} {
		now := w.await("it runs after "+command, func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning && s.PID != before })
		before = now.PID
		w.send(command)
		if command == "hang" {
			c, err := net.Dial("unix", w.path) // for it to be noticed soon
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
	}
	now := w.await("it runs after it hung", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning && s.PID != before })
	w.send("exit 0")
	w.await("it has done its work", func(s sbus.ServiceStatus) bool {
		return s.State == sbus.StateIdle && s.LastExit == "exit status 0" && s.PID == 0
	})
	if w.ask("hello") == "" {
		t.Error("the next client is not answered")
	}
	w.await("it runs for a client", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning && s.PID != now.PID })
}

// Where systemd holds the socket, the monitor calls as a client would, as soon
// as there is a socket.
func TestSystemdIsCalledForAResponderWithWork(t *testing.T) {
	dir, err := os.MkdirTemp("", "sssd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var logged strings.Builder
	s := &service{descriptor: fakeDescriptor(), path: dir + "/s", timeouts: shortTimeouts, log: log.To(&logged, log.Mask(2)), systemd: true, unasked: true}
	done := make(chan struct{})
	go func() {
		s.call(t.Context())
		close(done)
	}()
	time.Sleep(10 * time.Millisecond) // some tries in vain; the test holds without
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-done
	if n := strings.Count(logged.String(), "cannot be started yet"); n > 1 {
		t.Errorf("logged %d times:\n%s", n, logged.String())
	}
}

// What is ordered behind sssd starts although a responder takes its time to
// end: here it does not end before that.
func TestSystemdDoesNotWaitForAResponderThatDoesNotEnd(t *testing.T) {
	path := t.TempDir() + "/notify"
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	m := &monitor{log: log.Discard()}
	if err := m.readyWithin(time.Hour, func() error { return nil }); err != nil {
		t.Error(err)
	}
	err = m.readyWithin(time.Millisecond, func() error {
		_ = told.SetReadDeadline(time.Now().Add(30 * time.Second))
		b := make([]byte, 1000)
		n, err := told.Read(b)
		if !strings.HasPrefix(string(b[:n]), "READY=1\n") {
			t.Errorf("systemd is told %q, %v", b[:n], err)
		}
		return errors.New("no")
	})
	if err == nil {
		t.Error("the error is lost")
	}
}

// expectEnds compares the ends that metrics tell of.
func (w *watched) expectEnds(want map[cause]float64) {
	w.t.Helper()
	for _, f := range w.monitor.metrics() {
		for _, sample := range f.Samples {
			if why := cause(sample.Labels["cause"]); f.Name == "gosssd_service_ends" && sample.Value != want[why] {
				w.t.Errorf("%v ends by %s, want %v", sample.Value, why, want[why])
			}
		}
	}
}
