package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"gosssd/linux"
	"gosssd/responder"
)

// socket is a listening socket that the monitor holds. For a responder it never
// accepts, unless that cannot start: it only sees that a client waits, and
// hands the socket over.
//
// The socket has a second name beside its path. Whoever deletes the path does
// not delete the socket, which gets its path back.
type socket struct {
	path string
	file *os.File
	take func() error // gives it its path; nil if it has that
}

// spareSuffix ends the second name of a socket, which begins with a dot.
const spareSuffix = ".held"

func spare(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+spareSuffix)
}

// holdSocket listens for path, which is the next socket's of the path as soon as
// that takes it. A socket that the monitor has held for it already is kept.
func holdSocket(path string, mode fs.FileMode, kept *kept) (*socket, error) {
	s := &socket{path: path}
	fd, have := kept.take(path)
	if !have {
		l, take, err := responder.ListenBeside(path, mode)
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		if fd, err = linux.Duplicate(l); err != nil {
			return nil, errors.Join(err, os.Remove(l.Addr().String()))
		}
		s.take = take
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	s.file = os.NewFile(uintptr(fd), path)
	return s, nil
}

// takePath has the clients of the path come to the socket, and no more to whoever
// has listened there.
func (s *socket) takePath() error {
	if s.take == nil {
		return nil
	}
	err := s.take()
	if err == nil {
		s.name()
	}
	s.take = nil
	return err
}

// name gives a new socket its second name. Without it the socket works as well,
// and has to be made anew if it is deleted.
func (s *socket) name() {
	_ = os.Remove(spare(s.path)) // of a monitor that was killed
	_ = os.Link(s.path, spare(s.path))
}

// restore gives the socket its path back if that was deleted, or taken by
// another socket that nobody listens on any more. The error wraps fs.ErrExist if
// something else is there, and fs.ErrNotExist if the second name is gone as
// well.
func (s *socket) restore() (restored bool, err error) {
	held, heldErr := os.Lstat(spare(s.path))
	named, namedErr := os.Lstat(s.path)
	switch {
	case heldErr == nil && namedErr == nil && os.SameFile(held, named):
		return false, nil
	case errors.Is(heldErr, fs.ErrNotExist) && namedErr == nil: // whose it is cannot be told
		return false, nil
	case heldErr == nil && namedErr == nil && s.taken():
		return false, fmt.Errorf("%s: another program listens there: %w", s.path, fs.ErrExist)
	case namedErr == nil:
		if err := os.Remove(s.path); err != nil {
			return false, err
		}
	}
	err = os.Link(spare(s.path), s.path)
	return err == nil, err
}

// taken reports whether what is at the path is more than a socket that nobody
// listens on.
func (s *socket) taken() bool {
	c, err := net.Dial("unix", s.path)
	if err == nil {
		_ = c.Close()
	}
	info, statErr := os.Lstat(s.path)
	return !errors.Is(err, unix.ECONNREFUSED) || statErr == nil && info.Mode().Type() != fs.ModeSocket
}

// awaitClient returns when a client waits to be accepted, or the context's
// error.
func (s *socket) awaitClient(ctx context.Context) error {
	return linux.WaitReadable(ctx, s.file)
}

// clientWaits reports whether a client waits now.
func (s *socket) clientWaits() bool { return linux.Readable(s.file) }

// listener returns the socket for accepting clients; the caller closes it.
func (s *socket) listener() (*net.UnixListener, error) {
	lent, err := s.lend()
	if err != nil {
		return nil, err
	}
	defer func() { _ = lent.Close() }()
	l, err := net.FileListener(lent)
	if err != nil {
		return nil, err
	}
	unixListener := l.(*net.UnixListener)
	unixListener.SetUnlinkOnClose(false)
	return unixListener, nil
}

// lend returns the socket as a file for a child. The caller closes it once the
// child has started.
func (s *socket) lend() (*os.File, error) {
	fd, err := s.lendFD()
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), s.path), nil
}

func (s *socket) lendFD() (int, error) { return linux.Duplicate(s.file) }

// close stops listening and removes the socket's names.
func (s *socket) close() {
	_ = os.Remove(s.path)
	_ = os.Remove(spare(s.path))
	_ = s.file.Close()
}
