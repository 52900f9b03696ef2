package logins

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Watch tells of the ends of sessions. The kernel tells it (inotify(7)) when a
// control group is removed.
type Watch struct {
	machine *Machine
	file    *os.File

	mu    sync.Mutex
	users map[int32]uint32 // by watch descriptor: whose slice it is of
	all   int32            // the descriptor of user.slice; 0 until that is followed
	ready []uint32         // of whom something has ended, and nobody was told
}

// Watch begins to watch; what, Follow says.
func (m *Machine) Watch() (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch login sessions: %w", err)
	}
	return &Watch{machine: m, file: os.NewFile(uintptr(fd), "inotify"), users: map[int32]uint32{}}, nil
}

// Follow has Next tell of the sessions of a user, until there are none. What had
// ended before it returns is not told of.
func (w *Watch) Follow(uid uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, err := w.add(w.machine.slices())
	if err != nil {
		return err
	}
	w.all = all
	slice, err := w.add(w.machine.path(uid, ""))
	if err != nil {
		return err
	}
	w.users[slice] = uid
	return nil
}

// add watches a directory. One that is watched already keeps its descriptor.
func (w *Watch) add(dir string) (descriptor int32, err error) {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	var added int
	var addErr error
	err = raw.Control(func(fd uintptr) {
		added, addErr = unix.InotifyAddWatch(int(fd), dir, unix.IN_DELETE|unix.IN_ONLYDIR)
	})
	if err == nil {
		err = addErr
	}
	if err != nil {
		return 0, fmt.Errorf("watch %s: %w", dir, err)
	}
	return int32(added), nil
}

// Next waits until something of a user that is followed has ended and returns
// who that is; false once Close was called. It may tell of one end twice. One
// goroutine calls it.
func (w *Watch) Next() (uid uint32, open bool) {
	events := make([]byte, 16<<10)
	for {
		w.mu.Lock()
		if n := len(w.ready); n > 0 {
			uid = w.ready[n-1]
			w.ready = w.ready[:n-1]
			w.mu.Unlock()
			return uid, true
		}
		w.mu.Unlock()
		n, err := w.file.Read(events)
		if err != nil {
			return 0, false
		}
		w.mu.Lock()
		w.take(events[:n])
		w.mu.Unlock()
	}
}

// take notes whom events are about.
func (w *Watch) take(events []byte) {
	const header = unix.SizeofInotifyEvent
	for len(events) >= header {
		descriptor := int32(binary.NativeEndian.Uint32(events))
		mask, size := binary.NativeEndian.Uint32(events[4:]), binary.NativeEndian.Uint32(events[12:])
		name := string(bytes.TrimRight(events[header:header+size], "\x00"))
		events = events[header+size:]
		switch uid, known := w.users[descriptor]; {
		case mask&unix.IN_Q_OVERFLOW != 0: // some events are lost
			for _, uid := range w.users {
				w.ready = append(w.ready, uid)
			}
		case mask&unix.IN_IGNORED != 0: // the slice is gone
			delete(w.users, descriptor)
		case known:
			w.ready = append(w.ready, uid)
		case descriptor == w.all:
			var uid uint32
			if _, err := fmt.Sscanf(name, "user-%d.slice", &uid); err == nil {
				w.ready = append(w.ready, uid)
			}
		}
	}
}

// Close ends the watch, and Next.
func (w *Watch) Close() error { return w.file.Close() }
