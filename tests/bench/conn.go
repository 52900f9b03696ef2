package main

import (
	"errors"
	"fmt"
	"io"
	"unsafe"

	"golang.org/x/sys/unix"

	kcmclient "gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// rawSocket is a blocking socket. Its system calls do not go through Go's
// scheduler, so that a client costs as little as one written in C, and what is
// measured is the server.
type rawSocket int

func dialRaw(socket string) (rawSocket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %s: %w", socket, err), unix.Close(fd))
	}
	return rawSocket(fd), nil
}

func (s rawSocket) Close() error { return unix.Close(int(s)) }

func (s rawSocket) Write(b []byte) (written int, err error) {
	for written < len(b) && err == nil {
		var n int
		n, err = s.transfer(unix.SYS_WRITE, b[written:])
		written += n
	}
	return written, err
}

func (s rawSocket) Read(b []byte) (int, error) {
	n, err := s.transfer(unix.SYS_READ, b)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

func (s rawSocket) transfer(call uintptr, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(s), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// conn is a client's connection to a KCM server.
type conn struct {
	*kcmclient.Client
	fresh bool // a connection for each request
}

func newConn(socket string, fresh bool) *conn {
	dial := func() (io.ReadWriteCloser, error) { return dialRaw(socket) }
	return &conn{Client: kcmclient.Over(dial, 0), fresh: fresh}
}

func (c *conn) close() { _ = c.Close() }

// call sends a frame and returns the reply, which is good until the next call.
func (c *conn) call(frame []byte) (protocol.Reply, error) {
	reply, err := c.Exchange(frame)
	if err != nil || c.fresh {
		c.close()
	}
	return reply, err
}

// must is call for requests that have to succeed.
func (c *conn) must(frame []byte) ([]byte, error) {
	reply, err := c.call(frame)
	if err == nil && reply.Outer != 0 {
		err = fmt.Errorf("the request was answered with %v", reply.Outer)
	}
	if err == nil && reply.Inner != 0 {
		err = fmt.Errorf("the request was answered with %v", reply.Inner)
	}
	return reply.Results, err
}
