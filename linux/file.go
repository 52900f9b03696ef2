package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Create makes a file at path that is there whole or not at all, even after a
// crash: fill writes it while it has no name, and it gets its name when it is
// on disk. It has the mode whatever the umask. A file that is already at path
// is left alone; the error then is fs.ErrExist.
func Create(path string, mode fs.FileMode, fill func(*os.File) error) error {
	draft, err := newDraft(path, mode, fill)
	if err != nil {
		return err
	}
	defer draft.close()
	if err := draft.link(path); err != nil {
		return err
	}
	return named(path)
}

// ErrNotDurable is matched by errors of [Create] and [Replace] that came when the
// file had its name: it is there now, but a crash may undo that.
var ErrNotDurable = errors.New("a crash may undo that")

// named makes the name durable that a file has got.
func named(path string) error {
	if err := SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%s is written, but %w: %w", path, ErrNotDurable, err)
	}
	return nil
}

// Replace puts a file at path as Create does, but also where one is already:
// at any moment, and after a crash, path is the old file or the new one.
//
// A process that is killed leaves nothing behind, or at most the file that
// [Beside] names, which the next call for the same path removes.
func Replace(path string, mode fs.FileMode, fill func(*os.File) error) error {
	draft, err := newDraft(path, mode, fill)
	if err != nil {
		return err
	}
	defer draft.close()
	if draft.name == "" {
		if err := draft.linkBeside(path); err != nil {
			return err
		}
	}
	if err := os.Rename(Beside(path), path); err != nil {
		return errors.Join(err, os.Remove(Beside(path)))
	}
	return named(path)
}

// Beside is the name, in the same directory, under which a file waits for the
// moment in which it takes its path. It begins with a dot, so that nobody who
// reads the directory takes it for more.
func Beside(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+newSuffix)
}

const newSuffix = ".new"

// MakeDirs makes a directory, and those above it that are missing, with the mode
// whatever the umask: one that is closed to users would hide a socket from them.
// What is there already keeps its mode.
func MakeDirs(path string, mode fs.FileMode) error {
	err := os.Mkdir(path, mode)
	if errors.Is(err, fs.ErrNotExist) {
		if err := MakeDirs(filepath.Dir(path), mode); err != nil {
			return err
		}
		err = os.Mkdir(path, mode)
	}
	if err == nil {
		return os.Chmod(path, mode)
	}
	if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
		return nil
	}
	return err
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// draft is a file that is written and has not its name yet: none at all, or,
// on a file system without unnamed files, the one beside it. It is locked, by
// which others see that its writer lives.
type draft struct {
	file *os.File
	name string // "" for an unnamed file
}

func newDraft(path string, mode fs.FileMode, fill func(*os.File) error) (d draft, err error) {
	if d, err = openDraft(path); err != nil {
		return draft{}, err
	}
	err = d.file.Chmod(mode)
	if err == nil {
		err = fill(d.file)
	}
	if err == nil {
		err = d.file.Sync()
	}
	if err != nil {
		d.close()
		return draft{}, fmt.Errorf("write %s: %w", path, err)
	}
	return d, nil
}

func openDraft(path string) (draft, error) {
	dir := filepath.Dir(path)
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch {
	case err == unix.EOPNOTSUPP || err == unix.EISDIR: // what file systems without them, and old kernels, say
		return openNamed(path)
	case err != nil:
		return draft{}, &fs.PathError{Op: "create a file in", Path: dir, Err: err}
	}
	d := draft{file: os.NewFile(uintptr(fd), path)}
	if err := lock(d.file); err != nil {
		d.close()
		return draft{}, err
	}
	return d, nil
}

func openNamed(path string) (draft, error) {
	name := Beside(path)
	for {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			if err := removeDead(name); err != nil {
				return draft{}, err
			}
			continue
		}
		if err != nil {
			return draft{}, err
		}
		if err := lock(file); err != nil {
			return draft{}, errors.Join(err, os.Remove(name), file.Close())
		}
		if hasName(file, name) {
			return draft{file: file, name: name}, nil
		}
		_ = file.Close() // taken for a dead writer's before it was locked
	}
}

// link gives the file a name that nothing has.
func (d draft) link(to string) error {
	from := d.name
	if from == "" {
		from = fmt.Sprintf("/proc/self/fd/%d", d.file.Fd())
	}
	if err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: d.file.Name(), New: to, Err: err}
	}
	return nil
}

func (d draft) linkBeside(path string) error {
	for {
		err := d.link(Beside(path))
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := removeDead(Beside(path)); err != nil {
			return err
		}
	}
}

// close gives the file up; under the name it was to have, it stays.
func (d draft) close() {
	if d.name != "" && hasName(d.file, d.name) {
		_ = os.Remove(d.name) // the next writer would do so too
	}
	_ = d.file.Close() // it was synced, and has nothing more to say
}

// removeDead removes a draft whose writer was killed, and waits for one whose
// writer lives to get its name.
func removeDead(name string) error {
	file, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ELOOP) {
		return ignoreMissing(os.Remove(name)) // a socket or a link: no draft at all
	}
	if err != nil {
		return ignoreMissing(err)
	}
	defer func() { _ = file.Close() }()
	if err := lock(file); err != nil {
		return err
	}
	// Only the holder of the lock takes the name from a file.
	if !hasName(file, name) {
		return nil
	}
	return ignoreMissing(os.Remove(name))
}

func hasName(file *os.File, name string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(name)
	return err == nil && os.SameFile(opened, named)
}

// lock waits for the lock of a file, which ends with its descriptor.
func lock(file *os.File) error {
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
