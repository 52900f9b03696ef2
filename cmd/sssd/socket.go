package main

import (
	"context"
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

// holdSocket listens at path, taking it over from whoever listened there.
func holdSocket(path string, mode fs.FileMode) (*socket, error) {
	l, err := responder.Listen(path, mode)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		return nil, err
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	file.Close()
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return &socket{path: path, file: os.NewFile(uintptr(fd), path)}, nil
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

// lend returns a descriptor of the socket for a child. The caller closes it
// once the child has started.
func (s *socket) lend() (*os.File, error) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var dupErr error
	if err := raw.Control(func(held uintptr) {
		fd, dupErr = unix.FcntlInt(held, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, dupErr
	}
	return os.NewFile(uintptr(fd), s.path), nil
}

// close stops listening and removes the socket's file.
func (s *socket) close() {
	_ = os.Remove(s.path)
	s.file.Close()
}
