package vault

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gosssd/linux"
)

// removeLeftovers deletes the temporary files that versions before this one
// left beside these paths when they were killed; they may hold keys.
func removeLeftovers(paths ...string) error {
	for _, path := range paths {
		entries, err := os.ReadDir(filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name := entry.Name()
			if !strings.HasPrefix(name, filepath.Base(path)+".") || !strings.HasSuffix(name, ".tmp") {
				continue
			}
			err := os.Remove(filepath.Join(filepath.Dir(path), name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// makeDir makes the directory of a vault if it is missing.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return linux.SyncDir(filepath.Dir(dir))
}
