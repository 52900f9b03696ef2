package responder

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"gosssd/confdb"
	"gosssd/linux"
	"gosssd/responder/log"
)

// accepted connects to itself through an endpoint, and returns who that is.
func accepted(t *testing.T, identity *actor) (Peer, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := l.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	own, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	return endpoint{l, identity}.peerOf(own)
}

func TestThePeerOfAnIdentitySocketIsItsIdentity(t *testing.T) {
	const unmapped = "GOSSSD_UNMAPPED"
	want := Peer{UID: 20001, GID: 20002, PID: int32(os.Getpid())}
	got, err := accepted(t, &actor{socket: "web", uid: 20001, gid: 20002})
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if _, err := accepted(t, &actor{err: errRoot}); !errors.Is(err, errRoot) {
		t.Errorf("an identity that is none: %v", err)
	}
	if os.Getenv(unmapped) != "" {
		if _, err := accepted(t, nil); !errors.Is(err, linux.ErrUnmapped) {
			t.Errorf("without an identity: %v; want ErrUnmapped", err)
		}
		return
	}
	// Once more where the kernel has no number for the peer.
	temporary, err := os.MkdirTemp("/tmp", "gosssd-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temporary)
	if err := os.Chmod(temporary, 0o777); err != nil {
		t.Fatal(err)
	}
	test := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	test.Env = append(os.Environ(), unmapped+"=1", "TMPDIR="+temporary)
	test.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	out, err := test.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("user namespaces are switched off here: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestRootIsNoIdentity looks at every way to write root, also in a configuration
// database that no check has seen.
func TestRootIsNoIdentity(t *testing.T) {
	d := Descriptor{Name: "x", Sections: []confdb.Section{{Name: "x"}, IdentitySection("x")}}
	for _, user := range []string{"root", "0", "00", "4294967295", "", "no-such-user", "-1"} {
		conf, err := confdb.NewSnapshot(d.schema(), map[string]map[string]string{"x/socket a": {"path": "/run/a", "user": user}})
		if err != nil {
			t.Fatal(err)
		}
		if sockets := d.IdentitySockets("", conf); len(sockets) > 0 {
			t.Errorf("user = %s makes the socket %+v", user, sockets[0])
		}
		s := IdentitySocket{Name: "a", Path: "/run/a", User: user}
		if e := s.endpoint(nil); e.identity.err == nil && (e.identity.uid == 0 || user != "4294967295") {
			t.Errorf("user = %s has clients count as uid %d", user, e.identity.uid)
		}
	}
	conf, err := confdb.NewSnapshot(d.schema(), map[string]map[string]string{"x/socket A": {"path": "/run/a", "user": "20001"}})
	if err != nil {
		t.Fatal(err)
	}
	if sockets := d.IdentitySockets("", conf); len(sockets) != 1 || sockets[0].FDName() != "socket-a.20001" || sockets[0].Mode != 0o600 {
		t.Errorf("got %+v; want one with the mode 0600", sockets)
	}
}

// TestASocketOfAnEarlierUserIsNotServed hands over what systemd still holds
// where a changed unit could not be brought into force.
func TestASocketOfAnEarlierUserIsNotServed(t *testing.T) {
	d := Descriptor{Name: "x", Sections: []confdb.Section{{Name: "x"}, IdentitySection("x")}}
	conf, err := confdb.NewSnapshot(d.schema(), map[string]map[string]string{"x/socket web": {"path": "/run/a", "user": "20001"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, served := range map[string]bool{"socket-web.20001": true, "socket-web.20002": false, "socket-web": false, "socket-other.20001": false} {
		path := filepath.Join(t.TempDir(), "socket")
		l, err := Listen(path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		endpoints := inherited{others: []handed{{l, name}}}.identityEndpoints(d, "", conf, log.Discard())
		c, err := net.Dial("unix", path)
		if (len(endpoints) == 1) != served || (err == nil) != served {
			t.Errorf("%s: %d endpoints, and connecting says %v; want it served: %t", name, len(endpoints), err, served)
		}
		if err == nil {
			c.Close()
		}
		l.Close()
	}
}
