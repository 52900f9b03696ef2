package engine

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Sizes tell how much room an engine takes and has.
type Sizes struct {
	Database    int64 // bytes of the database file
	Journal     int64 // bytes of the journal file; 0 as long as there is none
	JournalUsed int64 // bytes of it that the database lacks
	Free        int64 // bytes that the file system has for processes without privileges
	Tight       bool  // the disk has refused more
}

// Sizes returns how large the files are now, and what is free beside them.
func (e *Engine) Sizes() (Sizes, error) {
	e.mu.RLock()
	s := Sizes{Journal: e.journal.size, JournalUsed: e.journal.used, Tight: e.space.tight.Load()}
	e.mu.RUnlock()
	var file unix.Stat_t
	if err := unix.Stat(e.path, &file); err != nil {
		return s, fmt.Errorf("stat %s: %w", e.path, err)
	}
	s.Database = file.Size
	var system unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(e.path), &system); err != nil {
		return s, fmt.Errorf("statfs %s: %w", filepath.Dir(e.path), err)
	}
	s.Free = int64(system.Bavail) * system.Bsize
	return s, nil
}
