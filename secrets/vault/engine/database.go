package engine

import (
	"errors"
	"fmt"
	"os"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// openDatabase opens the database of a file after it was checked: whose it is,
// that nobody else has it open, and its structure. A file that is mostly free
// is made smaller first.
func openDatabase(path string, opts Options) (*bbolt.DB, *os.File, error) {
	for compacted := false; ; compacted = true {
		disk, err := lockFile(path, opts)
		if err != nil {
			return nil, nil, err
		}
		info, err := disk.Stat()
		if err != nil {
			return nil, nil, errors.Join(err, disk.Close())
		}
		used, err := checkPages(disk, info.Size())
		if err != nil {
			return nil, nil, errors.Join(&DamageError{File: path, What: err.Error()}, disk.Close())
		}
		db, err := openChecked(path, disk, opts)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("open %s: %w", path, err), disk.Close())
		}
		if compacted || !used.worthCompacting() {
			return db, disk, nil
		}
		err = compact(db, path)
		switch {
		case err == nil, errors.Is(err, linux.ErrNotDurable): // the copy is there; the first change makes it stay
		case isFull(err):
			return db, disk, nil // it can be used as it is
		default:
			return nil, nil, errors.Join(fmt.Errorf("compact %s: %w", path, err), db.Close())
		}
		if err := db.Close(); err != nil {
			return nil, nil, err
		}
	}
}

// openChecked gives the database a file that is right.
func openChecked(path string, disk *os.File, opts Options) (db *bbolt.DB, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			db, err = nil, &DamageError{File: path, What: fmt.Sprint(cause)}
		}
	}()
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:      opts.LockTimeout,
		FreelistType: bbolt.FreelistMapType,
		// The list of free pages is found by the scan at the start, and every
		// commit writes a page less.
		NoFreelistSync: true,
		NoSync:         opts.NoSync,
		OpenFile:       func(string, int, os.FileMode) (*os.File, error) { return disk, nil },
	})
}

// openUnnamed opens a database in a new file, which stays open when the
// database is closed.
func openUnnamed(f *os.File) (*bbolt.DB, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	same := os.NewFile(uintptr(fd), f.Name())
	db, err := bbolt.Open(f.Name(), 0o600, &bbolt.Options{
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return same, nil },
	})
	if err != nil {
		_ = same.Close() // unless the database did
		return nil, err
	}
	return db, nil
}

// lockFile opens the database file and takes its lock, which is the database's
// own: an exclusive flock on the whole file.
func lockFile(path string, opts Options) (*os.File, error) {
	for deadline := time.Now().Add(opts.LockTimeout); ; time.Sleep(10 * time.Millisecond) {
		disk, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
		if err := CheckOwner(disk, opts.OwnerUID); err != nil {
			return nil, errors.Join(err, disk.Close())
		}
		err = unix.Flock(int(disk.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isAt(disk, path) {
			return disk, nil
		}
		_ = disk.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("lock %s: %w", path, ErrInUse)
		}
	}
}

// isAt reports whether path still leads to the file: another process may have
// compacted it while this one waited for the lock.
func isAt(disk *os.File, path string) bool {
	opened, err := disk.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}

// CheckOwner refuses an open file that somebody else could have written or
// read.
func CheckOwner(file *os.File, owner uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", file.Name(), err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%s is not a regular file", file.Name())
	case st.Uid != 0 && st.Uid != owner:
		return fmt.Errorf("%s belongs to uid %d, not to uid %d; see who had it and correct the owner", file.Name(), st.Uid, owner)
	case st.Mode&0o177 != 0:
		return fmt.Errorf("%s has mode %04o, not 0600; see who could read it and correct the mode", file.Name(), st.Mode&0o7777)
	}
	return nil
}

// worthCompacting reports whether more than half of a file, and so much that
// it matters, holds nothing.
func (u usage) worthCompacting() bool {
	const matters = 1 << 20 // bytes
	free := u.pages - u.used
	return free > u.used && int64(free)*u.pageSize >= matters
}

// compact replaces the file at path by a copy without its free pages. The lock
// on the old file is held until the new one has its name.
func compact(db *bbolt.DB, path string) error {
	return linux.Replace(path, 0o600, func(f *os.File) error {
		dst, err := openUnnamed(f)
		if err != nil {
			return err
		}
		const perCommit = 1 << 20
		return errors.Join(bbolt.Compact(dst, db, perCommit), dst.Close())
	})
}
