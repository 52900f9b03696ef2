package linux

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Watch tells when names come to a directory or leave it.
type Watch struct{ file *os.File }

// NewWatch begins to watch a directory.
func NewWatch(dir string) (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	const changes = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	if _, err := unix.InotifyAddWatch(fd, dir, changes|unix.IN_ONLYDIR); err != nil {
		_ = unix.Close(fd) // it has read nothing
		return nil, fmt.Errorf("watch %s: %w", dir, err)
	}
	return &Watch{file: os.NewFile(uintptr(fd), "inotify")}, nil
}

// Wait waits for changes since it returned last, for d at most, or until the
// context ends. It reports whether there were any. What changed, the caller
// has to look at.
func (w *Watch) Wait(ctx context.Context, d time.Duration) bool {
	if w.file.SetReadDeadline(time.Now().Add(d)) != nil {
		Sleep(ctx, d)
		return false
	}
	defer context.AfterFunc(ctx, func() { _ = w.file.SetReadDeadline(time.Unix(1, 0)) })()
	events := make([]byte, 16<<10)
	n, _ := w.file.Read(events)
	return n > 0
}

// Close ends the watch.
func (w *Watch) Close() error { return w.file.Close() }
