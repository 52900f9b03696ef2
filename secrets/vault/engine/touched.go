package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// GoneError is returned for a change while nothing is at the path of the file,
// which was there when it was opened. Reading goes on, and so does writing when
// the file is back.
type GoneError struct{ File string }

func (e *GoneError) Error() string {
	return fmt.Sprintf("%s was removed while it is in use, or its directory was unmounted or replaced; put it back, or restart the service", e.File)
}

// Is makes the error match ErrGone.
func (e *GoneError) Is(target error) bool { return target == ErrGone }

// intact notices that somebody else truncated the file. The database would fault
// in its mapping of it, with locks held that nobody could release.
func (e *Engine) intact() error {
	known := e.size.Load() // before the look, since the file grows meanwhile
	info, err := e.disk.Stat()
	if err != nil {
		return e.doubted(fmt.Errorf("stat %s: %w", e.path, err))
	}
	if info.Size() < known {
		return e.doubted(e.damage("it was truncated"))
	}
	for known < info.Size() && !e.size.CompareAndSwap(known, info.Size()) {
		known = e.size.Load()
	}
	return nil
}

// untouched notices that somebody else truncated, replaced, removed or wrote to
// the file. It is asked before every change.
func (e *Engine) untouched() error {
	known := e.size.Load()
	now, err := identify(e.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &GoneError{e.path}
	case err != nil:
		return fmt.Errorf("look for %s: %w", e.path, err)
	case now.file != e.file:
		return e.doubted(e.damage("another file has taken its place"))
	case now.size < known:
		return e.doubted(e.damage("it was truncated"))
	}
	if !e.storing.TryLock() {
		return nil // we are writing to it ourselves, and look before we do
	}
	defer e.storing.Unlock()
	return e.unwritten()
}

// fileID tells one file from another.
type fileID struct{ device, inode uint64 }

// identity is which file is at a path, and how long it is.
type identity struct {
	file fileID
	size int64
}

// allocated is how much of the disk a file has, in bytes.
func allocated(f *os.File) (int64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	const unit = 512 // of st_blocks, whatever the file system
	return st.Blocks * unit, err
}

func identify(path string) (identity, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return identity{}, err
	}
	return identityOf(&st), nil
}

func identifyOpen(f *os.File) (identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return identity{}, err
	}
	return identityOf(&st), nil
}

func identityOf(st *unix.Stat_t) identity {
	return identity{fileID{st.Dev, st.Ino}, st.Size}
}

// unwritten notices that somebody else wrote to the file: what the database
// knows of it is wrong then, and to go on would spoil it. The caller holds
// storing.
func (e *Engine) unwritten() error {
	if err := e.readHeads(e.headsNow); err != nil || !bytes.Equal(e.headsNow, e.heads) {
		return e.doubted(e.damage("somebody else wrote to it while it was in use"))
	}
	return nil
}

// doubted ends all use of the engine.
func (e *Engine) doubted(err error) error {
	doubt := &DoubtError{err}
	e.doubt.Store(doubt)
	return doubt
}

// readHeads returns the two heads of the database, which every commit changes,
// and what lies between them.
func (e *Engine) readHeads(into []byte) error {
	_, err := e.disk.ReadAt(into, 0)
	return err
}

// remember notes what the heads are after a commit. The caller holds storing.
func (e *Engine) remember() error {
	if err := e.readHeads(e.heads); err != nil {
		return e.doubted(fmt.Errorf("read %s: %w", e.path, err))
	}
	return nil
}
