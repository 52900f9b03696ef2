package confdb

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// Commit makes the configuration the one every responder reads, and returns
// it. Nothing is written while Err is not nil.
//
// The generation counts changes of what is set: it is one more than that of
// the database that was there, or the same if sections and options have not
// changed, even if comments, lines or files have. A damaged database is
// replaced; the count goes on if that line of it can still be read, and from
// 1 otherwise.
//
// The database is built beside the old one, synced and renamed, so that at any
// moment, also after a crash, the file is the old one or the new one. Nothing is
// written where nothing has changed, so that sssd starts again on a disk that
// is full or read-only. Of several processes that commit, one does so at a time.
func (c *Config) Commit(path string) (*Snapshot, error) {
	return c.commit(path, func(*Snapshot) settings { return c.values })
}

// ErrNoSection is wrapped by CommitSection's error for a name that no section
// of sssd.conf can have.
var ErrNoSection = errors.New("not a section of sssd.conf")

// CommitSection replaces one section of the database and leaves all others as
// they are; a section that is no longer set is removed. The whole
// configuration is committed if there is no database that can be read,
// since one section alone would stand for defaults in all others.
func (c *Config) CommitSection(path, name string) (*Snapshot, error) {
	if c.schema.Match(name) == nil && !isForeignSection(name) {
		return nil, fmt.Errorf("[%s]: %w%s", name, ErrNoSection, didYouMean(c.nearestSection(name)))
	}
	return c.commit(path, func(old *Snapshot) settings {
		if old == nil {
			return c.values
		}
		merged := maps.Clone(old.sections)
		if merged == nil {
			merged = settings{}
		}
		folded := strings.ToLower(name)
		delete(merged, folded)
		if in := c.values[folded]; in != nil {
			merged[folded] = in
		}
		return merged
	})
}

// commit writes what choose makes of the old database, which is nil if there
// is none.
func (c *Config) commit(path string, choose func(old *Snapshot) settings) (*Snapshot, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	dir, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("configuration database: %w", err)
	}
	defer dir.Close() // and unlocks it
	old, err := readDatabase(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	next := &Snapshot{schema: c.schema, sections: choose(old)}
	next.Hash, next.Time = next.sections.hash(), time.Now().UTC().Round(0)
	switch {
	case old == nil:
		next.Generation = floor(path) + 1
	case old.Hash == next.Hash:
		next.Generation, next.Time = old.Generation, old.Time
	default:
		next.Generation = old.Generation + 1
	}
	err = replace(path, next)
	if err != nil && old != nil && old.Hash == next.Hash && !errors.Is(err, linux.ErrNotDurable) {
		// The disk is full or read-only, and only the lines have moved: what is
		// there says what is to be in force.
		old.schema = c.schema
		return old, nil
	}
	if err != nil {
		return nil, fmt.Errorf("configuration database: %w", err)
	}
	return next, nil
}

// Restore puts s back at path if no database is there that can be read, and
// reports whether it did.
func (s *Snapshot) Restore(path string) (restored bool, err error) {
	dir, err := lockDir(filepath.Dir(path))
	if err != nil {
		return false, fmt.Errorf("configuration database: %w", err)
	}
	defer dir.Close() // and unlocks it
	_, err = readDatabase(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, ErrDamaged) {
		return false, err
	}
	if err := replace(path, s); err != nil {
		return false, fmt.Errorf("configuration database: %w", err)
	}
	return true, nil
}

// floor returns the generation a damaged database claims, or 0.
func floor(path string) uint64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	format, rest, _ := bytes.Cut(data, []byte("\n"))
	_, number, _, ok := cutGeneration(rest)
	if !ok || number > maxFloor || !bytes.HasPrefix(format, []byte(anyMagic)) {
		return 0
	}
	return number
}

// maxFloor is the highest generation that is believed without a checksum.
const maxFloor = 1 << 32

// lockDir opens a directory, which is made if need be, and locks it until it
// is closed.
func lockDir(path string) (*os.File, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, unix.EINTR) {
			_ = dir.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
	}
}

// replace puts s at path. What is there already is not written again, but its
// name may be from a commit that was killed, or met an error, before it was
// durable.
func replace(path string, s *Snapshot) error {
	data, err := encodeDatabase(s)
	if err != nil {
		return err
	}
	if present, err := os.ReadFile(path); err == nil && bytes.Equal(present, data) {
		if err := linux.SyncDir(filepath.Dir(path)); err != nil {
			return fmt.Errorf("%w: %w", linux.ErrNotDurable, err)
		}
		return nil
	}
	return linux.Replace(path, 0o600, func(file *os.File) error {
		_, err := file.Write(data)
		return err
	})
}
