package linux

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listen(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := l.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, path string) {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
}

func TestListeningReplacesASocketWithoutAGap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	first := listen(t, path)
	dial(t, path)
	second := listen(t, path)
	dial(t, path)
	for name, l := range map[string]*net.UnixListener{"old": first, "new": second} {
		c, err := l.Accept()
		if err != nil {
			t.Fatalf("the %s listener has no client: %v", name, err)
		}
		c.Close()
		if got := SocketPath(l); got != path {
			t.Errorf("the path of the %s listener is %s, want %s", name, got, path)
		}
		if at := ListensAt(l, path); at != (l == second) {
			t.Errorf("that the %s listener is at the path: %t", name, at)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v; want 0666", info.Mode(), err)
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("litter: %v", got)
	}
}

func TestNobodyComesToASocketBeforeItTakesItsPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	old := listen(t, path)
	next, take, err := ListenBeside(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { next.Close() })
	if !ListensAt(old, path) || ListensAt(next, path) {
		t.Error("clients do not come to the old socket")
	}
	if err := take(); err != nil {
		t.Fatal(err)
	}
	if ListensAt(old, path) || !ListensAt(next, path) {
		t.Error("clients do not come to the new socket")
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("litter: %v", got)
	}
}

func TestListeningRemovesWhatAKilledProcessLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	if err := os.WriteFile(besides(path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	listen(t, path)
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("litter: %v", got)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "no socket",
		dir:  "no socket",
		filepath.Join(dir, strings.Repeat("x", maxSocketPath)): "at most 102 are possible",
		filepath.Join(dir, "missing", "socket"):                "no such file or directory",
	} {
		if l, err := Listen(path, 0o600); err == nil {
			l.Close()
			t.Errorf("listening at %s is possible", path)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("listening at %s: %v, want %q", path, err, want)
		}
	}
}

func TestDialSaysThatAPathIsTooLong(t *testing.T) {
	path := "/" + strings.Repeat("x", maxSocketPath)
	if c, err := Dial(t.Context(), path); err == nil || !strings.Contains(err.Error(), "at most 107 are possible") {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestOnlySocketsAreGivenAway(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "socket")
	listen(t, path)
	if err := OwnSocket(path, uint32(os.Getuid()), AnyID, 0o640); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want 0640", info.Mode(), err)
	}
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{file, link, filepath.Join(dir, "missing"), dir} {
		if err := OwnSocket(other, uint32(os.Getuid()), AnyID, 0o777); err == nil {
			t.Errorf("%s is taken for a socket", other)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, by way of a link", info.Mode(), err)
	}
}

func TestRootGivesASocketToAUserAndBack(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	path := filepath.Join(t.TempDir(), "socket")
	listen(t, path)
	for _, owner := range []uint32{20001, 20002} { // the second mode is of a socket that is not root's
		if err := OwnSocket(path, owner, owner+1, 0o600|fs.FileMode(owner&1)); err != nil {
			t.Fatal(err)
		}
		var is unix.Stat_t
		if err := unix.Stat(path, &is); err != nil || is.Uid != owner || is.Gid != owner+1 || is.Mode&0o777 != 0o600|owner&1 {
			t.Errorf("owner %d:%d, mode %o, %v; want %d", is.Uid, is.Gid, is.Mode, err, owner)
		}
	}
}

func TestAnAccessListIsWhatTheKernelTakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	listen(t, path)
	err := unix.Setxattr(path, aclAttribute, accessList(20001, 20002, 0o640), 0)
	if errors.Is(err, unix.ENOTSUP) {
		t.Skip("this file system has no access control lists")
	}
	if err != nil {
		t.Fatal(err)
	}
	var is unix.Stat_t
	if err := unix.Stat(path, &is); err != nil || is.Mode&0o777 != 0o660 { // the mask takes the group's place
		t.Errorf("mode %o, %v; want 660", is.Mode, err)
	}
	// What one user was given is taken from them with the next owner.
	if err := OwnSocket(path, uint32(os.Getuid()), AnyID, 0o660); err != nil {
		t.Fatal(err)
	}
	if err := OwnSocket(path, uint32(os.Getuid()), AnyID, 0o640); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Getxattr(path, aclAttribute, make([]byte, 100)); err == nil {
		t.Errorf("the list of %d bytes is still there", n)
	}
}
