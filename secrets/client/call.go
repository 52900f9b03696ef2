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
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	message := request(method, path, word, body)
	defer clear(message)
	for attempt := 1; ; attempt++ {
		reply, err := c.try(ctx, message)
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

// try sends the message over one connection, which is kept if it can be used
// again.
func (c *Client) try(ctx context.Context, message []byte) (*reply, error) {
	k, err := c.conn(ctx)
	if err != nil {
		return nil, err
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

func (c *Client) conn(ctx context.Context) (*conn, error) {
	select {
	case k := <-c.kept:
		return k, nil
	default:
	}
	var dialer net.Dialer
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
