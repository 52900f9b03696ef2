package responder

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// claimVariable makes the test binary a process that holds the claim that it
// names, until its standard input ends.
const claimVariable = "GOSSSD_TEST_CLAIM"

func TestMain(m *testing.M) {
	path := os.Getenv(claimVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	instance, err := Claim(path)
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("claimed\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	if err := instance.Release(); err != nil {
		os.Exit(1)
	}
}

// holderProcess is another process that tried to claim a path, what it said,
// and what ends it.
func holderProcess(t *testing.T, path string) (pid int, said string, end func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), claimVariable+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() { in.Close(); _ = cmd.Wait() })
	t.Cleanup(end)
	said, _ = bufio.NewReader(out).ReadString('\n')
	return cmd.Process.Pid, strings.TrimSpace(said), end
}

func TestAClaimIsHeldByOneProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "x.pid")
	pid, said, end := holderProcess(t, path)
	if said != "claimed" {
		t.Fatal(said)
	}
	if _, err := Claim(path); !errors.Is(err, ErrRunning) {
		t.Errorf("a second claim: %v, want ErrRunning", err)
	}
	if got := HolderPID(path); got != pid {
		t.Errorf("holder %d, want %d", got, pid)
	}
	holder := Holder(path)
	if holder == nil || holder.PID != pid {
		t.Fatalf("holder %v, want %d", holder, pid)
	}
	defer holder.Close()
	go end()
	second, err := ClaimWhenFree(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if !holder.Ended() {
		t.Error("the claim is free before its holder has ended")
	}
	if err := second.Release(); err != nil {
		t.Fatal(err)
	}
	if got := HolderPID(path); got != 0 {
		t.Errorf("holder %d after release, want none", got)
	}
}

func TestAWaitForAClaimCanBeGivenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	if _, said, _ := holderProcess(t, path); said != "claimed" {
		t.Fatal(said)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := ClaimWhenFree(ctx, path); !errors.Is(err, ErrRunning) {
		t.Errorf("%v, want ErrRunning", err)
	}
}

func TestNobodyButTheOwnerCanOpenAClaim(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	instance, err := Claim(path)
	if err != nil {
		t.Fatal(err)
	}
	defer instance.Release()
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// A lock file that everybody could read, as earlier versions made it, is locked
// by a stranger, and holds the number of an innocent process.
func TestAStrangersLockKeepsNobodyFromStarting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	if err := os.WriteFile(path, []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	stranger, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := unix.Flock(int(stranger.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if holder := Holder(path); holder != nil {
		t.Errorf("process %d is taken for ours", holder.PID)
	}
	pid, said, end := holderProcess(t, path)
	if said != "claimed" {
		t.Fatalf("the claim cannot be taken: %s", said)
	}
	if got := HolderPID(path); got != pid {
		t.Errorf("holder %d, want %d", got, pid)
	}
	end()
	// Nor does a lock that it takes now keep the next one waiting.
	if _, said, _ := holderProcess(t, path); said != "claimed" {
		t.Errorf("the next claim cannot be taken: %s", said)
	}
}

func TestAStaleNumberIsNobodys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	starting, err := os.OpenFile(path, os.O_RDWR, 0) // has the lock, and has not signed yet
	if err != nil {
		t.Fatal(err)
	}
	defer starting.Close()
	if err := unix.Flock(int(starting.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if holder := Holder(path); holder != nil {
		t.Errorf("process %d is taken for ours", holder.PID)
	}
}

func TestWhatIsNoFileIsNoClaim(t *testing.T) {
	dir := t.TempDir()
	if _, err := Claim(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(fifo); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a FIFO: %v", err)
	}
}
