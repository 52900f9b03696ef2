package main

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"gosssd/kcm/protocol"
)

// conn is a client's connection as libkrb5 has it: a blocking socket, one write
// for a request. The system calls do not go through Go's scheduler, so that a
// client costs as little as one written in C, and what is measured is the server.
type conn struct {
	socket string
	fresh  bool // a connection for each request
	fd     int  // -1: none
	in     []byte
}

func newConn(socket string, fresh bool) *conn {
	return &conn{socket: socket, fresh: fresh, fd: -1, in: make([]byte, 64<<10)}
}

func (c *conn) connect() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: c.socket}); err != nil {
		return errors.Join(fmt.Errorf("connect to %s: %w", c.socket, err), unix.Close(fd))
	}
	c.fd = fd
	return nil
}

func (c *conn) close() {
	if c.fd >= 0 {
		_ = unix.Close(c.fd)
		c.fd = -1
	}
}

// call sends a frame and returns the reply, which is good until the next call.
func (c *conn) call(frame []byte) (protocol.Reply, error) {
	if c.fd < 0 {
		if err := c.connect(); err != nil {
			return protocol.Reply{}, err
		}
	}
	reply, err := c.exchange(frame)
	if err != nil || c.fresh {
		c.close()
	}
	return reply, err
}

func (c *conn) exchange(frame []byte) (protocol.Reply, error) {
	for len(frame) > 0 {
		n, err := transfer(unix.SYS_WRITE, c.fd, frame)
		if err != nil {
			return protocol.Reply{}, fmt.Errorf("send a request: %w", err)
		}
		frame = frame[n:]
	}
	for have := 0; ; {
		n, err := transfer(unix.SYS_READ, c.fd, c.in[have:])
		if err != nil || n == 0 {
			return protocol.Reply{}, fmt.Errorf("the server hung up: %w", err)
		}
		have += n
		reply, size, err := protocol.CutReply(c.in[:have])
		if err != nil || size > 0 {
			return reply, err
		}
		if have == len(c.in) {
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
	}
}

func transfer(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
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
