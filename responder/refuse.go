package responder

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// Refusal answers the first request of in, which a client has sent, with an
// error of the responder's protocol. It returns the reply and how many bytes
// the request takes, which may be more than are there: the rest is skipped. It
// takes 0 bytes if more are needed to tell, and a negative number if the
// connection is to be closed after the reply.
type Refusal func(in []byte) (reply []byte, takes int)

// Bounds of what is done for clients that get nothing but an error.
const (
	maxRefused    = 64       // clients at a time; more wait
	refusedBuffer = 16 << 10 // bytes in which a request must tell what it is
	refusedIdle   = 30 * time.Second
)

// Refuse accepts the clients of a responder that cannot start, and answers
// each of their requests with an error, until the context ends: libkrb5 waits
// for ever for an answer. It returns how many clients there were, when the last
// of them is gone.
//
// A descriptor without a Refusal leaves its clients in the backlog.
func (d Descriptor) Refuse(ctx context.Context, l *net.UnixListener) (clients int) {
	if d.Refusal == nil {
		<-ctx.Done()
		return 0
	}
	stop := context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	places := make(chan struct{}, maxRefused)
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		c, err := l.AcceptUnix()
		if err != nil && (ctx.Err() != nil || errors.Is(err, net.ErrClosed)) {
			return clients
		}
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // descriptors or memory have run out
			}
			continue
		}
		// At the end of the context as well: it may have sent a request already.
		clients++
		places <- struct{}{}
		serving.Go(func() {
			defer func() { <-places }()
			d.refuseClient(ctx, c)
		})
	}
}

// refuseClient answers one client until it is gone, or what it has sent by the
// end of the context is answered.
func (d Descriptor) refuseClient(ctx context.Context, c *net.UnixConn) {
	defer func() { _ = c.Close() }()
	// The next write of the client then fails, and it connects again.
	defer context.AfterFunc(ctx, func() { _ = c.CloseRead() })()
	buffer := make([]byte, refusedBuffer)
	have, skip := 0, 0
	for {
		if c.SetDeadline(time.Now().Add(refusedIdle)) != nil {
			return
		}
		n, err := c.Read(buffer[have:])
		have += n
		for have > 0 {
			if skip > 0 {
				cut := min(skip, have)
				have, skip = copy(buffer, buffer[cut:have]), skip-cut
				continue
			}
			reply, takes := d.Refusal(buffer[:have])
			if takes == 0 {
				break
			}
			if _, err := c.Write(reply); err != nil {
				return
			}
			if takes < 0 {
				_ = c.CloseWrite()
				takes = int(^uint(0) >> 1) // what still comes is read, else the reply would be lost
			}
			skip = takes
		}
		if err != nil || have == len(buffer) {
			return
		}
	}
}

// refuseTime is how long a responder that cannot start answers the clients of
// systemd's socket before it ends; systemd starts it again soon.
const refuseTime = 2 * time.Second
