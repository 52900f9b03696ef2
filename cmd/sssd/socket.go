package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/responder"
)

// socket is a listening socket that the monitor holds for a responder. The
// monitor never accepts: it only sees that a client waits, and hands the
// socket to the responder.
type socket struct {
	path string
	file *os.File
}

// holdSocket listens at path, taking it over from whoever listened there; a
// socket that the monitor has held for it already is kept.
func holdSocket(path string, mode fs.FileMode, kept kept) (*socket, error) {
	fd, have := kept.take(path)
	if !have {
		var err error
		if fd, err = listen(path, mode); err != nil {
			return nil, err
		}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return &socket{path: path, file: os.NewFile(uintptr(fd), path)}, nil
}

// listen returns the descriptor of a new listening socket.
func listen(path string, mode fs.FileMode) (int, error) {
	l, err := responder.Listen(path, mode)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}

// awaitClient returns when a client waits to be accepted, or the context's
// error.
func (s *socket) awaitClient(ctx context.Context) error {
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(poll, 0)
		return n > 0
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
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

func (s *socket) lendFD() (fd int, err error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(held uintptr) {
		fd, err = unix.FcntlInt(held, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(controlErr, err)
}

// close stops listening and removes the socket's file.
func (s *socket) close() {
	_ = os.Remove(s.path)
	s.file.Close()
}
