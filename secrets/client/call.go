package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"gosssd/secrets/records"
)

// maxAttempts bounds how often one request is sent. A connection that was
// kept, or that was waiting in the backlog of a service that ended, may turn
// out closed; the request is then sent again, which is safe because batches
// only put and delete.
const maxAttempts = maxConns + 3

// call sends one request and returns the body of a successful answer.
func (c *Client) call(ctx context.Context, method, path, word string, body []byte) ([]byte, error) {
	deadline := time.Now().Add(callTimeout)
	if err := c.enter(ctx, deadline); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { <-c.slots }()
	message := request(method, path, word, body)
	defer clear(message)
	for attempt := 1; ; attempt++ {
		reply, err := c.try(ctx, deadline, message)
		switch {
		case err == nil && reply.status == 200:
			return reply.body, nil
		case err == nil:
			return nil, &StatusError{Status: reply.status, Text: reply.text()}
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
	if err := k.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = k.SetDeadline(time.Unix(1, 0)) })
	answer, err := k.exchange(message)
	if !stop() || err != nil || !answer.keep {
		k.Close()
		return answer, err
	}
	c.kept <- k // never blocks: there are no more connections than slots
	return answer, nil
}

func (c *Client) conn(ctx context.Context, deadline time.Time) (*conn, error) {
	select {
	case k := <-c.kept:
		return k, nil
	default:
	}
	dialer := net.Dialer{Deadline: deadline}
	socket, err := dialer.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, err
	}
	return newConn(socket), nil
}

// request composes a request, so that it leaves in one write.
func request(method, path, word string, body []byte) []byte {
	m := make([]byte, 0, 192+len(path)+len(body))
	m = append(m, method...)
	m = append(m, ' ')
	m = append(m, path...)
	m = append(m, " HTTP/1.1\r\nHost: localhost\r\nAccept: "+records.MediaType+"\r\n"...)
	if word != "" {
		m = append(m, records.Fence+": "+word+"\r\n"...)
	}
	if body != nil {
		m = append(m, "Content-Type: "+records.MediaType+"\r\nContent-Length: "...)
		m = strconv.AppendInt(m, int64(len(body)), 10)
		m = append(m, "\r\n"...)
	}
	m = append(m, "\r\n"...)
	return append(m, body...)
}
