package responder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// Instance is the claim of one process to be the only one of its kind below a
// root: a file with its process number and two locks. Only the owner may open
// it, so that nobody else can lock it.
//
// The lock of the open file (flock) is the claim. It outlives an exec. The
// record lock (fcntl) belongs to the process and says who holds the claim:
// the kernel names the process, whatever number a file may hold from earlier.
// It is lost when the process closes any descriptor of the file; so nobody may
// ask for the holder of a claim that is its own.
type Instance struct{ file *os.File }

// Adopt takes over the claim that this process took before it executed itself
// again; fd is the descriptor of its locked file.
func Adopt(fd uintptr) (*Instance, error) {
	i := &Instance{file: os.NewFile(fd, "claim")}
	// Linux before 5.11 drops record locks when a program with threads
	// executes another.
	return i, i.sign()
}

// FD is the descriptor of the locked file.
func (i *Instance) FD() uintptr { return i.file.Fd() }

// ErrRunning says that another process holds the claim.
var ErrRunning = errors.New("already running")

// Claim takes the claim that path stands for, or returns ErrRunning with the
// number of the process that has it. Nothing but the file is touched.
func Claim(path string) (*Instance, error) {
	if err := linux.MakeDirs(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock file: %w", err)
		}
		instance, again, err := claim(f, path)
		if err == nil && !again {
			return instance, nil
		}
		_ = f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// claim locks f. It has to be tried again if path stands for another file by
// now.
func claim(f *os.File, path string) (i *Instance, again bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, fmt.Errorf("lock file: %s is not a regular file", path)
	}
	locked := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
	if !ownersOnly(info) && (locked || holderOf(f) == 0) {
		// Strangers may have it open, and one of them may hold the lock now or
		// take it later. They cannot open the next one.
		return nil, true, os.Remove(path)
	}
	if !locked {
		return nil, false, fmt.Errorf("%w: %s is locked by process %d", ErrRunning, path, holderOf(f))
	}
	if named, err := os.Lstat(path); err != nil || !os.SameFile(info, named) {
		return nil, true, nil
	}
	i = &Instance{file: f}
	return i, false, i.sign()
}

// ownersOnly reports whether nobody but our own user can have the file open.
func ownersOnly(info fs.FileInfo) bool {
	owner := info.Sys().(*syscall.Stat_t).Uid
	return int(owner) == os.Geteuid() && info.Mode().Perm()&0o077 == 0
}

// sign says that this process is the holder.
func (i *Instance) sign() error {
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	err := unix.FcntlFlock(i.file.Fd(), unix.F_SETLK, &lock)
	if err == nil {
		err = i.file.Chmod(0o600)
	}
	if err == nil {
		err = i.file.Truncate(0)
	}
	if err == nil {
		_, err = i.file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		return fmt.Errorf("lock file: %w", err)
	}
	return nil
}

// The pauses between attempts to take a claim whose holder is not known: it
// has just taken it, or is outside of our PID namespace.
const (
	firstClaimPause = time.Millisecond
	lastClaimPause  = time.Second
)

// ClaimWhenFree waits for the process that holds the claim to end, as a
// responder does that replaces one which still answers its last clients.
func ClaimWhenFree(ctx context.Context, path string) (*Instance, error) {
	for pause := firstClaimPause; ; pause = min(2*pause, lastClaimPause) {
		instance, err := Claim(path)
		if !errors.Is(err, ErrRunning) {
			return instance, err
		}
		if holder := Holder(path); holder != nil {
			_ = holder.Wait(ctx)
			holder.Close()
		} else {
			linux.Sleep(ctx, pause)
		}
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// Holder returns the process that holds the claim, nil if none does or the
// kernel does not name it. The process is ours beyond doubt: it could open the
// file, and it held the claim while it was already held by the descriptor. The
// caller closes it.
func Holder(path string) *linux.Process {
	pid := HolderPID(path)
	if pid == 0 {
		return nil
	}
	process, err := linux.OpenProcess(pid)
	if err != nil {
		return nil
	}
	if HolderPID(path) != pid { // it ended, and another may have its number
		process.Close()
		return nil
	}
	return process
}

// HolderPID returns the number of the process that holds the claim, 0 if none
// does. It must not be asked for a claim of this process.
func HolderPID(path string) int {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	return holderOf(f)
}

// holderOf asks the kernel who has signed. Only who may write can have.
func holderOf(f *os.File) int {
	lock := unix.Flock_t{Type: unix.F_RDLCK}
	if unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock) != nil || lock.Type != unix.F_WRLCK || lock.Pid < 0 {
		return 0
	}
	return int(lock.Pid)
}

// Release gives the claim up; the file stays, unlocked and empty.
func (i *Instance) Release() error {
	return errors.Join(i.file.Truncate(0), i.file.Close())
}
