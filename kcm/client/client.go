// Package client is a client of the KCM protocol. It behaves on the socket as
// libkrb5 does: one connection that is kept, one write for a request, and, where
// that meets EPIPE because the server has been replaced, one new connection on
// which the request is sent again.
package client

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"gosssd/kcm/protocol"
)

// Client is not for several goroutines at once. It connects with the first request.
type Client struct {
	dial     func() (io.ReadWriteCloser, error)
	patience time.Duration // 0 is for ever
	conn     io.ReadWriteCloser
	in       []byte // what was read; the first have bytes are of replies
	have     int
	used     int // bytes of the reply that was returned last

	// Reconnects counts the connections that replaced one the server had left.
	Reconnects int
}

// New returns a client of the server that listens at socket. It waits for at
// most patience for each part of a reply, for ever if that is 0.
func New(socket string, patience time.Duration) *Client {
	dial := net.Dialer{Timeout: patience}
	return Over(func() (io.ReadWriteCloser, error) { return dial.Dial("unix", socket) }, patience)
}

// Over returns a client that gets its connections from dial. The patience
// counts for connections that have deadlines.
func Over(dial func() (io.ReadWriteCloser, error), patience time.Duration) *Client {
	return &Client{dial: dial, patience: patience}
}

// Error is a reply that is an error of the server.
type Error struct {
	Op    protocol.Op
	Code  protocol.Code
	Outer bool // the operation was not run at all
}

func (e *Error) Error() string { return fmt.Sprintf("%v: %v", e.Op, e.Code) }

// Call sends one request and returns the results of its reply, which belong to
// the caller. The error is an *Error if the server has answered with a code.
func (c *Client) Call(op protocol.Op, params ...[]byte) ([]byte, error) {
	if err := c.Send(op, params...); err != nil {
		return nil, err
	}
	return c.Results(op)
}

// Send sends a request without waiting for its reply.
func (c *Client) Send(op protocol.Op, params ...[]byte) error {
	if err := c.send(protocol.AppendRequest(nil, protocol.Request{Op: op, Params: slices.Concat(params...)})); err != nil {
		return fmt.Errorf("%v: send the request: %w", op, err)
	}
	return nil
}

// Results waits for the reply to an operation, and is otherwise as Call.
func (c *Client) Results(op protocol.Op) ([]byte, error) {
	reply, err := c.Receive()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%v: no reply: %w", op, err)
	case reply.Outer != protocol.OK:
		return nil, &Error{Op: op, Code: reply.Outer, Outer: true}
	case reply.Inner != protocol.OK:
		return nil, &Error{Op: op, Code: reply.Inner}
	}
	return slices.Clone(reply.Results), nil
}

// Exchange sends a frame, which need not be a request that is well formed, and
// returns the reply, whose results are good until the next call.
func (c *Client) Exchange(frame []byte) (protocol.Reply, error) {
	if err := c.send(frame); err != nil {
		return protocol.Reply{}, fmt.Errorf("send a request: %w", err)
	}
	return c.Receive()
}

func (c *Client) send(frame []byte) (err error) {
	if c.conn != nil {
		if _, err = c.conn.Write(frame); !errors.Is(err, syscall.EPIPE) {
			return err
		}
		_ = c.Close()
		c.Reconnects++
	}
	if err := c.Connect(); err != nil {
		return err
	}
	_, err = c.conn.Write(frame)
	return err
}

// Connect connects, unless the client is connected.
func (c *Client) Connect() (err error) {
	if c.conn == nil {
		c.conn, err = c.dial()
	}
	return err
}

// Receive waits for one reply, whose results are good until the next call. The
// error is io.EOF where the server has closed the connection between two replies.
func (c *Client) Receive() (protocol.Reply, error) {
	if c.conn == nil {
		return protocol.Reply{}, net.ErrClosed
	}
	c.have = copy(c.in, c.in[c.used:c.have])
	c.used = 0
	for {
		reply, size, err := protocol.CutReply(c.in[:c.have])
		if err != nil || size > 0 {
			c.used = size
			return reply, err
		}
		if err := c.read(); err != nil {
			return protocol.Reply{}, err
		}
	}
}

// read takes in what there is.
func (c *Client) read() error {
	if c.have == len(c.in) {
		c.in = append(c.in, make([]byte, max(4096, len(c.in)))...)
	}
	if timed, ok := c.conn.(interface{ SetReadDeadline(time.Time) error }); ok && c.patience > 0 {
		if err := timed.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
			return err
		}
	}
	n, err := c.conn.Read(c.in[c.have:])
	c.have += n
	switch {
	case n > 0:
		return nil
	case errors.Is(err, io.EOF) && c.have > 0:
		return io.ErrUnexpectedEOF
	}
	return err
}

// Close drops the connection, as the end of a program would. The next request
// makes a new one.
func (c *Client) Close() error {
	if c.conn == nil {
		return nil
	}
	err := c.conn.Close()
	c.conn, c.have, c.used = nil, 0, 0
	return err
}
