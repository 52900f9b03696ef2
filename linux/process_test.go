package linux

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper is a child that lives until it is killed.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

func TestTheEndOfAProcessIsWaitedFor(t *testing.T) {
	cmd := sleeper(t)
	p, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Ended() || !p.IsChild() {
		t.Errorf("ended %v, a child %v; want a child that lives", p.Ended(), p.IsChild())
	}
	cancelled, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := p.Wait(cancelled); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that is given up: %v", err)
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil || !p.Ended() {
		t.Errorf("%v, ended %v", err, p.Ended())
	}
	status, ours := p.Reap()
	if !ours || status.Signal() != unix.SIGKILL {
		t.Errorf("status %v, ours %v", status, ours)
	}
	if _, ours := p.Reap(); ours || p.IsChild() {
		t.Error("a child is reaped twice")
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Errorf("a signal to a process that has ended: %v", err)
	}
}

func TestAProcessThatIsNoChildIsNotReaped(t *testing.T) {
	p, err := OpenProcess(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, ours := p.Reap(); ours || p.IsChild() {
		t.Error("the parent is taken for a child")
	}
	if _, err := OpenProcess(1 << 30); !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL) {
		t.Errorf("a number that no process has: %v", err)
	}
}

func TestTheProcessOfAPeerIsHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l := listen(t, path)
	dial(t, path)
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := PeerProcess(c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.PID != os.Getpid() || p.Ended() {
		t.Errorf("process %d, ended %v; want this one", p.PID, p.Ended())
	}
}
