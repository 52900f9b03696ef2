package responder

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gosssd/confdb"
	"gosssd/linux"
	"gosssd/responder/log"
	"gosssd/responder/metric"
)

// echo answers each line with the line; a line "wait" is answered when the
// test says so.
type echo struct{ proceed chan struct{} }

func (h echo) Serve(_ context.Context, c *Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if line == "wait\n" {
			<-h.proceed
		}
		if _, err := io.WriteString(c, line); err != nil {
			return
		}
	}
}

func (echo) Reload(*confdb.Snapshot)  {}
func (echo) Metrics() []metric.Family { return nil }
func (echo) MayExit() bool            { return true }
func (echo) Close() error             { return nil }

// harness is a server on a socket of its own.
type harness struct {
	*server
	path      string
	proceed   chan struct{}
	accepting chan struct{}
}

func serveEcho(t *testing.T, limits limits) *harness {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{path: path, proceed: make(chan struct{}), accepting: make(chan struct{})}
	h.server = newServer([]endpoint{{l, nil}}, echo{h.proceed}, log.Discard(), 100, limits)
	go func() {
		defer close(h.accepting)
		h.accept(t.Context())
	}()
	return h
}

func (h *harness) connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func say(t *testing.T, c net.Conn, line string) {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	return string(b[:n])
}

func TestDrainingAnswersWhatWasSentAndMakesTheNextWriteFail(t *testing.T) {
	h := serveEcho(t, limits{})
	busy, quiet := dial(t, h.path), dial(t, h.path)
	for _, c := range []net.Conn{busy, quiet} {
		say(t, c, "hello")
		hear(t, c)
	}
	say(t, busy, "wait")
	drained := make(chan struct{})
	go func() {
		h.drain(h.accepting, time.Minute)
		close(drained)
	}()
	for errors.Is(write(quiet), nil) { // until reading is shut
		time.Sleep(time.Millisecond)
	}
	if err := write(quiet); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("a write to a draining responder: %v, want EPIPE", err)
	}
	close(h.proceed)
	if got := hear(t, busy); got != "wait\n" {
		t.Errorf("a request in flight is answered %q", got)
	}
	<-drained
}

func write(c net.Conn) error {
	_, err := c.Write([]byte("x"))
	return err
}

func TestDrainingServesTheBacklogOfASocketThatNobodyElseHolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	waiting := dial(t, path)
	say(t, waiting, "hello")
	s := newServer([]endpoint{{l, nil}}, echo{}, log.Discard(), 100, limits{})
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		s.accept(t.Context())
	}()
	s.drain(accepting, time.Minute)
	if got := hear(t, waiting); got != "hello\n" {
		t.Errorf("a client of the backlog is answered %q", got)
	}
}

func TestDrainingCutsOffClientsAtTheDeadline(t *testing.T) {
	h := serveEcho(t, limits{})
	c := dial(t, h.path)
	say(t, c, "wait")
	for h.connections() == 0 {
		time.Sleep(time.Millisecond)
	}
	go func() {
		for h.connections() > 0 { // its connection is closed under it
			select {
			case h.proceed <- struct{}{}:
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	h.drain(h.accepting, time.Millisecond)
}

func TestListeningMakesTheDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "socket")
	l, err := Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dial(t, path)
	if at := filepath.Join(filepath.Dir(path), "..", "run", "socket"); !sameSocket(linux.SocketPath(l), at) || sameSocket(path, path+".1") {
		t.Errorf("%s and %s are told apart, or %s.1 is not", path, at, path)
	}
}

func TestInheritedIgnoresWhatIsMeantForAnother(t *testing.T) {
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()+1))
	t.Setenv("LISTEN_FDS", "1")
	if l, err := takeHanded(); l != nil || err != nil {
		t.Errorf("got %v, %v; want nothing", l, err)
	}
	if os.Getenv("LISTEN_FDS") != "" {
		t.Error("the variables are left for children")
	}
	t.Setenv("LISTEN_FDS", "2, or more")
	t.Setenv("LISTEN_PID", "")
	if _, err := takeHanded(); err == nil {
		t.Error("a number that is none is accepted")
	}
}
