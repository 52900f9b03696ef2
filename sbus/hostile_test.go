package sbus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/hashicorp/go-hclog"
)

// authenticatedConn is a bare connection that has said Hello.
func authenticatedConn(t *testing.T, path string) (*net.UnixConn, *bufio.Reader) {
	t.Helper()
	conn := rawConn(t, path)
	in := bufio.NewReader(conn)
	if err := errors.Join(lend(conn, nil), offerAuth(in, conn, uint32(os.Geteuid()))); err != nil {
		t.Fatal(err)
	}
	send(t, conn, BusName, BusPath, BusInterface, "Hello")
	if reply := next(t, in); reply.kind != dbus.TypeMethodReply {
		t.Fatalf("Hello is answered by %v", reply)
	}
	if acquired := next(t, in); acquired.kind != dbus.TypeSignal {
		t.Fatalf("Hello is followed by %v", acquired)
	}
	return conn, in
}

func send(t *testing.T, conn io.Writer, dest string, path dbus.ObjectPath, iface, method string, args ...any) {
	t.Helper()
	write(t, conn, 1, address{dest: dest, path: path, iface: iface, member: method}, args...)
}

func write(t *testing.T, conn io.Writer, serial uint32, a address, args ...any) {
	t.Helper()
	f, err := newCall(serial, a, args)
	if err != nil {
		t.Fatal(err)
	}
	writeFrame(t, conn, f)
}

func writeFrame(t *testing.T, conn io.Writer, f *frame) {
	t.Helper()
	if _, err := conn.Write(f.raw); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, in io.Reader) *frame {
	t.Helper()
	raw, err := readFrame(in)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseFrame(raw)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// serveOther calls the monitor from another peer again and again until stop is
// closed, and returns how many calls it made and how long the slowest took.
func serveOther(t *testing.T, path string, stop <-chan struct{}) (calls int, slowest time.Duration) {
	t.Helper()
	conn := dial(t, path)
	for {
		start := time.Now()
		if _, err := conn.Call(testContext(t), MonitorName, MonitorPath, MonitorInterface, "getVersion"); err != nil {
			t.Errorf("the other peer is not served: %v", err)
			return calls, slowest
		}
		calls, slowest = calls+1, max(slowest, time.Since(start))
		select {
		case <-stop:
			return calls, slowest
		default:
		}
	}
}

// TestBadPeers lets a peer misbehave while another one is served.
func TestBadPeers(t *testing.T) {
	flood, err := newCall(5, address{"", MonitorName, MonitorPath, MonitorInterface, "ListServices"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(t *testing.T, path string){
		"one floods and never reads": func(t *testing.T, path string) {
			conn, _ := authenticatedConn(t, path)
			sent := 0
			for ; sent < 1_000_000; sent++ {
				if _, err := conn.Write(flood.raw); err != nil {
					break
				}
			}
			// What fits the two socket buffers and the two queues, no more.
			if sent > 20*(maxQueued+maxJobs) {
				t.Errorf("%d calls were taken", sent)
			}
			t.Logf("cut off after %d calls", sent)
		},
		"one announces 4 GB": func(t *testing.T, path string) {
			conn, in := authenticatedConn(t, path)
			if _, err := conn.Write([]byte{'l', 1, 0, 1, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
				t.Fatal(err)
			}
			expectEnd(t, in)
		},
		"one announces 1 MiB and sends nothing more": func(t *testing.T, path string) {
			conn, _ := authenticatedConn(t, path)
			if _, err := conn.Write([]byte{'l', 1, 0, 1, 0, 0, 0xf, 0, 1, 0, 0, 0, 0, 0, 0, 0}); err != nil {
				t.Fatal(err)
			}
		},
		"one stalls in its handshake": func(t *testing.T, path string) {
			conn := rawConn(t, path)
			if _, err := conn.Write([]byte("\x00AUTH EXTERNAL\r\nDA")); err != nil {
				t.Fatal(err)
			}
			expectEnd(t, conn)
		},
		"one never ends its line": func(t *testing.T, path string) {
			conn := rawConn(t, path)
			_, _ = conn.Write(append([]byte{0}, bytes.Repeat([]byte("x"), 10000)...))
			expectEnd(t, conn)
		},
		"one sends an array without end": func(t *testing.T, path string) {
			conn, in := authenticatedConn(t, path)
			if _, err := conn.Write(withBody(t, "a()", 8, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)); err != nil {
				t.Fatal(err)
			}
			expectEnd(t, in)
		},
		"one adds match rules without end": func(t *testing.T, path string) {
			conn := dial(t, path)
			var err error
			for i := 0; i <= maxRules && err == nil; i++ {
				_, err = conn.Call(testContext(t), BusName, BusPath, BusInterface, "AddMatch", fmt.Sprintf("arg0='%d'", i))
			}
			if errorName(err) != ErrorLimitsExceeded {
				t.Errorf("error is %v", err)
			}
		},
		"one requests names without end": func(t *testing.T, path string) {
			conn := dial(t, path)
			var err error
			for i := 0; i <= maxNames && err == nil; i++ {
				err = conn.RequestName(testContext(t), fmt.Sprintf("org.example.n%d", i))
			}
			if errorName(err) != ErrorLimitsExceeded {
				t.Errorf("error is %v", err)
			}
		},
	}
	for name, misbehave := range tests {
		t.Run(name, func(t *testing.T) {
			_, path := startServer(t, Options{Objects: []Object{new(fakeMonitor).object()}, HandshakeTimeout: 100 * time.Millisecond})
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				calls, slowest := serveOther(t, path, stop)
				t.Logf("meanwhile %d calls of another peer were answered, the slowest in %v", calls, slowest)
			}()
			misbehave(t, path)
			close(stop)
			receive(t, "the other peer's end", done)
		})
	}
}

// expectEnd reads until the server has closed the connection.
func expectEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if _, err := io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
}

func TestAPeerThatNeverReadsIsCutOffByTime(t *testing.T) {
	gone := make(chan Caller, 1)
	big := make([]byte, 100<<10)
	object := Object{Path: "/x", Interfaces: []Interface{{Name: "a.b", Methods: []Method{{
		Name: "Big", Out: []Arg{{"data", "ay"}}, Call: constant(big),
	}}}}}
	_, path := startServer(t, Options{
		Objects: []Object{object}, WriteTimeout: 50 * time.Millisecond, Disconnected: func(c Caller) { gone <- c },
	})
	conn, _ := authenticatedConn(t, path)
	for range 8 { // more than a socket buffer, less than the queue
		send(t, conn, MonitorName, "/x", "a.b", "Big")
	}
	receive(t, "the end of the peer", gone)
}

func TestASlowHandlerDelaysOnlyItsPeer(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	object := Object{Path: "/x", Interfaces: []Interface{{Name: "a.b", Methods: []Method{
		{Name: "Slow", Call: func(context.Context, Caller, []any) ([]any, error) {
			close(entered)
			<-release
			return nil, nil
		}},
		{Name: "Fast", Call: constant()},
	}}}}
	_, path := startServer(t, Options{Objects: []Object{object}})
	slow, other := dial(t, path), dial(t, path)
	answered := make(chan error, 2)
	go func() {
		_, err := slow.Call(testContext(t), MonitorName, "/x", "a.b", "Slow")
		answered <- err
	}()
	receive(t, "the call", entered)
	if _, err := other.Call(testContext(t), MonitorName, "/x", "a.b", "Fast"); err != nil {
		t.Errorf("another peer: %v", err)
	}
	if _, err := slow.Call(testContext(t), MonitorName, "/x", PeerInterface, "Ping"); err != nil {
		t.Errorf("a ping of the same peer: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := slow.Call(soon, MonitorName, "/x", "a.b", "Fast"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("another call of the same peer: %v", err)
	}
	close(release)
	if err := receive(t, "the answer", answered); err != nil {
		t.Error(err)
	}
}

func TestOnlyAReplyThatWasAskedForIsPassedOn(t *testing.T) {
	_, path := startMonitor(t)
	_, victimIn := authenticatedConn(t, path) // :1.1
	forger, _ := authenticatedConn(t, path)
	writeFrame(t, forger, reply{to: 1, dest: ":1.1", results: []any{"forged"}}.frame(9))
	greeting, err := newSignal(10, address{BusName, ":1.1", "/", "a.b", "Greeting"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	writeFrame(t, forger, greeting)
	first := next(t, victimIn)
	if first.kind != dbus.TypeSignal {
		t.Errorf("the victim received %v", first)
	}
	if sender := first.text(dbus.FieldSender); sender != ":1.2" {
		t.Errorf("the sender claims to be %s", sender)
	}
}

// A peer that is called more often than it reads costs the caller the calls,
// not itself the connection.
func TestAPeerCannotEndAnotherByCallingIt(t *testing.T) {
	_, path := startMonitor(t)
	sleeper, sleeperIn := authenticatedConn(t, path) // :1.1 does not read for now
	caller, callerIn := authenticatedConn(t, path)
	call, err := newCall(5, address{"", ":1.1", "/", "a.b", "Wake"}, []any{strings.Repeat("x", 8<<10)})
	if err != nil {
		t.Fatal(err)
	}
	call.raw[2] = byte(dbus.FlagNoReplyExpected)
	for range 8 * maxQueued {
		writeFrame(t, caller, call)
	}
	send(t, caller, BusName, BusPath, BusInterface, "GetId")
	next(t, callerIn) // so all calls have been handled
	send(t, sleeper, BusName, BusPath, BusInterface, "GetId")
	for calls := 0; ; calls++ {
		if f := next(t, sleeperIn); f.isReply() {
			t.Logf("of %d calls, %d are there", 8*maxQueued, calls)
			return
		}
	}
}

func TestCallsThatWaitAreBounded(t *testing.T) {
	_, path := startMonitor(t)
	authenticatedConn(t, path) // :1.1 never answers
	caller, in := authenticatedConn(t, path)
	for i := range uint32(maxOutstanding + 1) {
		write(t, caller, 10+i, address{"", ":1.1", "/", "a.b", "Wait"})
	}
	if e := next(t, in); errorOf(e).Name != ErrorLimitsExceeded || e.replySerial() != 10+maxOutstanding {
		t.Errorf("received %v", e)
	}
}

func TestBeforeHelloOnlyPeerStyleWorks(t *testing.T) {
	_, path := startMonitor(t)
	conn := rawConn(t, path)
	in := bufio.NewReader(conn)
	if err := errors.Join(lend(conn, nil), offerAuth(in, conn, uint32(os.Geteuid()))); err != nil {
		t.Fatal(err)
	}
	send(t, conn, BusName, BusPath, BusInterface, "ListNames")
	if e := next(t, in); errorOf(e).Name != ErrorAccessDenied {
		t.Errorf("received %v", e)
	}
	send(t, conn, "", MonitorPath, MonitorInterface, "getVersion")
	if r := next(t, in); r.kind != dbus.TypeMethodReply || r.text(dbus.FieldSender) != "" {
		t.Errorf("received %v", r)
	}
}

func TestConnectionsAreBoundedAndUsersAdmitted(t *testing.T) {
	t.Run("one more than allowed is refused", func(t *testing.T) {
		_, path := startServer(t, Options{MaxPeers: 2})
		dial(t, path)
		dial(t, path)
		if _, err := Dial(testContext(t), path, nil, nil); err == nil {
			t.Error("a third was accepted")
		}
	})
	t.Run("a user who is not admitted is refused", func(t *testing.T) {
		_, path := startServer(t, Options{Admit: func(uint32) bool { return false }})
		if _, err := Dial(testContext(t), path, nil, hclog.NewNullLogger()); err == nil {
			t.Error("accepted")
		}
	})
}
