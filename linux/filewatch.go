package linux

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// FileWatch tells when files lose their names or are written (inotify(7)).
type FileWatch struct{ file *os.File }

// NewFileWatch makes a watch that watches nothing yet. The caller closes it.
func NewFileWatch() (*FileWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &FileWatch{os.NewFile(uintptr(fd), "inotify")}, nil
}

// Add watches the file that is at path now, of whatever kind, also if it is
// watched already. It tells that the file is unlinked, renamed, replaced or
// written; what comes to the path later is to be added anew.
func (w *FileWatch) Add(path string) error {
	// A file that is open somewhere is not deleted when it is unlinked: its
	// count of links changes, which is an attribute.
	const events = unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_MODIFY
	var added error
	err := control(w.file, func(fd int) { _, added = unix.InotifyAddWatch(fd, path, events|unix.IN_DONT_FOLLOW) })
	if err == nil {
		err = added
	}
	if err != nil {
		return &os.PathError{Op: "watch", Path: path, Err: err}
	}
	return nil
}

// Wait returns nil when something has happened to a file since the last call,
// or the context's error.
func (w *FileWatch) Wait(ctx context.Context) error {
	if err := WaitReadable(ctx, w.file); err != nil {
		return err
	}
	events := make([]byte, 4096) // what it was does not matter: who waits looks
	for Readable(w.file) {
		if _, err := w.file.Read(events); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the watch.
func (w *FileWatch) Close() { _ = w.file.Close() } // nothing is written to it
