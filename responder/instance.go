package responder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Instance is the claim of one process to be the only one of its kind below a
// root: a locked file that holds its process number.
type Instance struct{ file *os.File }

// Adopt takes over the claim that this process took before it executed itself
// again; fd is the descriptor of its locked file.
func Adopt(fd uintptr) *Instance { return &Instance{file: os.NewFile(fd, "claim")} }

// FD is the descriptor of the locked file.
func (i *Instance) FD() uintptr { return i.file.Fd() }

// ErrRunning says that another process holds the claim.
var ErrRunning = errors.New("already running")

// Claim takes the claim that path stands for, or returns ErrRunning with the
// number of the process that has it. Nothing but the file is touched.
func Claim(path string) (*Instance, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder := readPID(f)
		f.Close()
		return nil, fmt.Errorf("%w: %s is locked by process %d", ErrRunning, path, holder)
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0); err != nil {
		f.Close()
		return nil, err
	}
	return &Instance{file: f}, nil
}

// ClaimWhenFree waits for the process that holds the claim to end, as a
// responder does that replaces one which still answers its last clients.
func ClaimWhenFree(ctx context.Context, path string) (*Instance, error) {
	for {
		instance, err := Claim(path)
		if !errors.Is(err, ErrRunning) {
			return instance, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Holder returns the number of the process that holds the claim, 0 if none
// does.
func Holder(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil {
		return 0
	}
	return readPID(f)
}

// Release gives the claim up; the file stays, unlocked and empty.
func (i *Instance) Release() error {
	return errors.Join(i.file.Truncate(0), i.file.Close())
}

func readPID(f *os.File) int {
	var b [20]byte
	n, _ := f.ReadAt(b[:], 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}
