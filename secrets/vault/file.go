package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// file is the open database: the engine, the keys to what is in it, and what
// the writer knows about it.
type file struct {
	path   string
	db     *bbolt.DB
	disk   *os.File     // of the engine, which closes it
	size   atomic.Int64 // the largest that was seen
	sealer *sealer
	names  *names
	rules  map[string]Rule
	totals map[string]*totals // by hive
	cache  map[ownerID]*units // of owners that were written to

	journal *journal
	mu      sync.RWMutex // held by readers, and by the writer to show what it has made durable
	pending changes      // in the journal and not yet in the database
}

// open opens the database, or makes it if nothing is there yet.
func (v *Vault) open() (*file, error) {
	keys, err := v.keys.load()
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(v.path); errors.Is(err, fs.ErrNotExist) {
		if keys, err = v.create(keys); err != nil {
			return nil, err
		}
	}
	for {
		db, disk, used, err := openDatabase(v.path, v.opts)
		if err != nil {
			return nil, err
		}
		if used.worthCompacting() {
			if err := compact(db, v.path); err != nil {
				return nil, errors.Join(fmt.Errorf("compact %s: %w", v.path, err), db.Close())
			}
			if err := db.Close(); err != nil {
				return nil, err
			}
			continue
		}
		f := &file{
			path: v.path, db: db, disk: disk, sealer: newSealer(), rules: v.opts.Rules, cache: map[ownerID]*units{},
			journal: &journal{path: v.path + journalSuffix, opts: v.opts}, pending: changes{},
		}
		if err := f.intact(); err != nil {
			return nil, errors.Join(err, db.Close())
		}
		if err := f.unlock(keys, v.keys); err != nil {
			return nil, errors.Join(err, f.closeAfter(err))
		}
		if err := removeLeftovers(v.path, f.journal.path, v.keys.current, v.keys.next); err != nil {
			return nil, errors.Join(err, f.close())
		}
		return f, nil
	}
}

// create makes an empty database under the master key there is, or a new one.
func (v *Vault) create(keys []masterKey) ([]masterKey, error) {
	if len(keys) == 0 {
		key, err := v.keys.create(v.keys.current)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	err := createFile(v.path, func(temp *os.File) error {
		db, err := bbolt.Open(temp.Name(), 0o600, &bbolt.Options{Timeout: v.opts.LockTimeout})
		if err != nil {
			return err
		}
		return errors.Join(format(db, keys[0]), db.Close())
	})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", v.path, err)
	}
	return keys, nil
}

// openDatabase opens a file with the engine after it was checked: whose it is,
// that nobody else has it open, and its structure.
func openDatabase(path string, opts Options) (db *bbolt.DB, disk *os.File, used usage, err error) {
	disk, err = lockFile(path, opts)
	if err != nil {
		return nil, nil, usage{}, err
	}
	info, err := disk.Stat()
	if err != nil {
		return nil, nil, usage{}, errors.Join(err, disk.Close())
	}
	if used, err = checkPages(disk, info.Size()); err != nil {
		return nil, nil, usage{}, errors.Join(&DamageError{File: path, What: err.Error()}, disk.Close())
	}
	err = guard(path, func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout:      opts.LockTimeout,
			FreelistType: bbolt.FreelistMapType,
			// The list of free pages is found by the scan at the start, and
			// every commit writes a page less.
			NoFreelistSync: true,
			NoStatistics:   true,
			NoSync:         opts.noSync,
			OpenFile:       func(string, int, os.FileMode) (*os.File, error) { return disk, nil },
		})
		return err
	})
	if err != nil {
		return nil, nil, usage{}, errors.Join(fmt.Errorf("open %s: %w", path, err), disk.Close())
	}
	return db, disk, used, nil
}

// lockFile opens the database file and takes its lock, which is the engine's
// own: an exclusive flock on the whole file.
func lockFile(path string, opts Options) (*os.File, error) {
	for deadline := time.Now().Add(opts.LockTimeout); ; time.Sleep(10 * time.Millisecond) {
		disk, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open database: %w", err)
		}
		if err := checkOwner(disk, opts.OwnerUID); err != nil {
			return nil, errors.Join(err, disk.Close())
		}
		err = unix.Flock(int(disk.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && isAt(disk, path) {
			return disk, nil
		}
		disk.Close()
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

func checkOwner(disk *os.File, owner uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(disk.Fd()), &st); err != nil {
		return fmt.Errorf("stat %s: %w", disk.Name(), err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%s is not a regular file", disk.Name())
	case st.Uid != 0 && st.Uid != owner:
		return fmt.Errorf("%s belongs to uid %d, not to uid %d; see who had it and correct the owner", disk.Name(), st.Uid, owner)
	case st.Mode&0o177 != 0:
		return fmt.Errorf("%s has mode %04o, not 0600; see who could read it and correct the mode", disk.Name(), st.Mode&0o7777)
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
	temp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	err = copyInto(temp.Name(), db)
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func copyInto(path string, db *bbolt.DB) error {
	dst, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	const perCommit = 1 << 20
	err = bbolt.Compact(dst, db, perCommit)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// close brings what is in the journal into the database, and closes both.
func (f *file) close() error {
	err := guard(f.path, func() error { return f.empty() })
	return errors.Join(err, f.closeAfter(err))
}

// closeAfter closes the file after an error; what is in the journal stays
// there. An engine that panicked may hold its locks and is not asked; its
// mapping of the file is lost to the process.
func (f *file) closeAfter(err error) error {
	var doubt *doubtError
	if errors.As(err, &doubt) && doubt.panicked {
		return errors.Join(f.journal.close(), f.disk.Close())
	}
	return errors.Join(f.journal.close(), f.db.Close())
}

// intact notices that somebody else truncated the file. The engine would fault
// in its mapping of it, with locks held that nobody could release.
func (f *file) intact() error {
	info, err := f.disk.Stat()
	if err != nil {
		return &doubtError{error: fmt.Errorf("stat %s: %w", f.path, err)}
	}
	if info.Size() < f.size.Load() {
		return &doubtError{error: f.damage("it was truncated")}
	}
	f.size.Store(info.Size())
	return nil
}

// guard runs fn on the engine. That panics, or faults in its mapping of the
// file, when a file that was right at the start is damaged by somebody else
// while it is open.
func guard(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = &doubtError{error: &DamageError{File: path, What: fmt.Sprint(cause)}, panicked: true}
		}
	}()
	return fn()
}
