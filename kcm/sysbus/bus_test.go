package sysbus

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/linux"
	"gosssd/responder/log"
)

const rules = `<busconfig><listen>unix:path=%SOCKET%</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/></policy></busconfig>`

// daemon starts a dbus-daemon at a socket, and returns what ends it.
func daemon(t *testing.T, socket string) (stop func()) {
	t.Helper()
	conf := socket + ".conf"
	if err := os.WriteFile(conf, bytes.Replace([]byte(rules), []byte("%SOCKET%"), []byte(socket), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--config-file="+conf)
	if err := cmd.Start(); err != nil {
		t.Skip("needs dbus-daemon: ", err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(socket)
	})
	t.Cleanup(stop)
	return stop
}

// eventually waits until f succeeds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

// TestALostBusIsFoundAgain begins without a daemon, which comes, goes and comes.
func TestALostBusIsFoundAgain(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "bus") // t.TempDir's name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	me := uint32(os.Getuid()) //nolint:gosec // a uid
	var logged bytes.Buffer   // read after Close
	b := New(socket, func(_ context.Context, uid uint32) ([]Cache, error) {
		if uid != me {
			t.Errorf("the caches of %d are asked for", uid)
		}
		return []Cache{{Name: "KCM:1", Principal: "alice@EXAMPLE.ORG", Credentials: 2}}, nil
	}, log.To(&logged, log.Default))
	b.Start()
	defer func() {
		b.Close()
		want := fmt.Sprintf("request refused: op=\"system bus\" uid=%d pid=%d program=%s code=LimitsExceeded reason=", me, os.Getpid(), linux.Peer{PID: int32(os.Getpid())}.Program()) //nolint:gosec // a pid
		if !strings.Contains(logged.String(), want) {
			t.Errorf("the log has\n%s\nwant %s", logged.String(), want)
		}
	}()
	for range 2 {
		stop := daemon(t, socket)
		var client *dbus.Conn
		eventually(t, "a call is answered", func() bool {
			conn, err := dbus.Connect("unix:path=" + socket)
			if err != nil {
				return false
			}
			var list []map[string]dbus.Variant
			if err := conn.Object(Name, Path).Call(Interface+".ListCaches", 0).Store(&list); err != nil {
				_ = conn.Close()
				return false
			}
			if len(list) != 1 || list[0]["principal"].Value() != "alice@EXAMPLE.ORG" || list[0]["credentials"].Value() != uint32(2) {
				t.Errorf("shown is %v", list)
			}
			client = conn
			return true
		})
		if b.Busy() || b.Watched(me) {
			t.Error("who has only asked is told of changes")
		}
		heard := make(chan *dbus.Signal, 16)
		client.Signal(heard)
		if err := client.Object(Name, Path).Call(Interface+".Subscribe", 0).Err; err != nil {
			t.Fatal(err)
		}
		b.Tell(me+1, Changed, Cache{Name: "another's"})
		b.TellDefault(me, "KCM:1")
		eventually(t, "the signal comes", func() bool {
			select {
			case s := <-heard:
				if s.Name == Interface+"."+Changed {
					t.Error("the signal of another user comes")
				}
				return s.Name == Interface+"."+DefaultChanged && s.Body[0] == "KCM:1"
			default:
				return false
			}
		})
		if err := client.Object(Name, Path).Call(Interface+".Unsubscribe", 0).Err; err != nil || b.Busy() {
			t.Errorf("after Unsubscribe: %v, busy %v", err, b.Busy())
		}
		if err := client.Object(Name, Path).Call(Interface+".Subscribe", 0).Err; err != nil || !b.Watched(me) {
			t.Errorf("subscribed again: %v", err)
		}
		for i := range maxUserWatchers {
			b.watchers.add(fmt.Sprint(":9.", i), me)
		}
		other, err := dbus.Connect("unix:path=" + socket)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Object(Name, Path).Call(Interface+".Subscribe", 0).Err; err == nil {
			t.Error("a connection too many is subscribed")
		}
		_ = other.Close()
		stop()
		_ = client.Close()
		eventually(t, "those of the lost bus are forgotten", func() bool { return !b.Busy() })
	}
}
