package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/linux"
	"gosssd/secrets/records"
)

// maxAttempts bounds how often one request is sent. An idle connection, or one
// that was waiting in the backlog of a service that ended, may turn out closed;
// the request is then sent again, which is safe because commits only put and
// delete.
const maxAttempts = maxConns + 3

// call sends one request and returns the records of a successful answer.
func (c *Client) call(ctx context.Context, message []byte) ([]records.Record, error) {
	deadline := time.Now().Add(callTimeout)
	if err := c.enter(ctx, deadline); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { <-c.slots }()
	for attempt := 1; ; attempt++ {
		reply, err := c.try(ctx, deadline, message)
		switch {
		case err == nil && reply.result.Status == statusOK:
			return reply.records, nil
		case err == nil:
			return nil, &StatusError{Status: reply.result.Status, Text: shorten(reply.result.Text)}
		case !errors.Is(err, errClosed) || attempt == maxAttempts || ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
}

// enter waits for a slot. A timer is made only if none is free: each wakes a
// thread that has nothing to do.
func (c *Client) enter(ctx context.Context, deadline time.Time) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try sends the message over one connection, which is kept if it can be used
// again.
func (c *Client) try(ctx context.Context, deadline time.Time, message []byte) (*reply, error) {
	k, err := c.conn(ctx, deadline)
	if err != nil {
		return nil, err
	}
	if err := k.begin(ctx, deadline); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = k.SetDeadline(time.Unix(1, 0)) })
	answer, err := k.exchange(message)
	k.end()
	if !stop() || err != nil || !answer.reusable {
		_ = k.Close() // nothing that was answered depends on it
		return answer, err
	}
	c.idle <- k // never blocks: there are no more connections than slots
	return answer, nil
}

// conn returns an idle connection, or makes one.
func (c *Client) conn(ctx context.Context, deadline time.Time) (*conn, error) {
	select {
	case k := <-c.idle:
		return k, nil
	default:
	}
	socket, err := c.connect(ctx, deadline)
	if err != nil {
		return nil, err
	}
	return newConn(socket, c.dial), nil
}

// dialPause is the time between two attempts to connect.
const dialPause = 20 * time.Millisecond

// connect connects to the service. While the service cannot be connected to for
// want of room in its backlog or of a descriptor here, it tries again until the
// deadline: on a Unix socket neither makes connect wait.
func (c *Client) connect(ctx context.Context, deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	for {
		socket, err := c.dial(ctx)
		if err == nil {
			return socket, nil
		}
		if !passes(err) {
			return nil, err
		}
		if linux.Sleep(ctx, dialPause); ctx.Err() != nil {
			return nil, err
		}
	}
}

// passes reports whether an error of connect may be over in a moment.
func passes(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS)
}
