package linux

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// peer connects to itself and returns who that is.
func peer(t *testing.T) (Peer, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "socket")
	l := listen(t, path)
	dial(t, path)
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return PeerOf(c)
}

func TestThePeerIsWhoTheKernelSays(t *testing.T) {
	if os.Getenv("GOSSSD_UNMAPPED") != "" {
		unmapped(t)
		return
	}
	got, err := peer(t)
	want := Peer{UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), PID: int32(os.Getpid())}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// unmapped runs in a user namespace without mappings.
func unmapped(t *testing.T) {
	if os.Getuid() != overflowUID {
		t.Fatalf("uid %d, the namespace has mappings", os.Getuid())
	}
	if got, err := peer(t); !errors.Is(err, ErrUnmapped) {
		t.Errorf("got %+v, %v; want ErrUnmapped", got, err)
	}
}

func TestAUserWithoutANumberIsRefused(t *testing.T) {
	test := exec.Command(os.Args[0], "-test.run=^TestThePeerIsWhoTheKernelSays$", "-test.v")
	test.Env = append(os.Environ(), "GOSSSD_UNMAPPED=1", "TMPDIR="+worldWritable(t))
	test.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	out, err := test.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("user namespaces are switched off here: %v", err)
	}
	if err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// worldWritable is a directory for a process that may be nobody.
func worldWritable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "linux")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAUserNamespaceMapsAllUsersOrNot(t *testing.T) {
	for uidMap, want := range map[string]bool{
		"         0          0 4294967295\n": true,
		"":                                   false,
		"         0       1000          1\n": false,
		"0 0 1000\n1000 1000 4294966295\n":   true,
		"0 100000 65536\n":                   false,
		"no uid map at all\n":                false,
	} {
		if got := mapsAll(strings.NewReader(uidMap)); got != want {
			t.Errorf("mapsAll(%q) = %v, want %v", uidMap, got, want)
		}
	}
	if mapsAll(io.MultiReader(strings.NewReader("0 0 4294967295\n"), failing{})) {
		t.Error("a map that cannot be read maps all users")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, net.ErrClosed }

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		Sleep(t.Context(), time.Minute)
		if slept := time.Since(begin); slept != time.Minute {
			t.Errorf("slept %v, want a minute", slept)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		Sleep(ctx, time.Hour)
		if slept := time.Since(begin); slept != time.Minute+time.Second {
			t.Errorf("slept %v, want no longer than the context", slept)
		}
	})
}

func TestProgramIsWhatThePeerCallsItself(t *testing.T) {
	want, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Skip(err)
	}
	if got := (Peer{PID: int32(os.Getpid())}).Program(); got+"\n" != string(want) {
		t.Errorf("this program is %q, not %q", got, want)
	}
	for _, pid := range []int32{0, -1, 1 << 30} {
		if got := (Peer{PID: pid}).Program(); got != "?" {
			t.Errorf("process %d is called %q", pid, got)
		}
	}
}
