package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"gosssd/secrets/records"
)

// patience is how long a call waits before it shows that it does: it opens a
// second connection, which the monitor sees waiting at the socket of a service
// that hangs.
const patience = 2 * time.Second

// errClosed means that the service closed the connection before the first byte
// of an answer.
var errClosed = errors.New("connection closed before an answer")

// conn is one connection to the service, used by one call at a time.
type conn struct {
	net.Conn
	dial     func(ctx context.Context) (net.Conn, error)
	in       *records.Reader
	upgraded bool

	ctx      context.Context // of the call
	deadline time.Time       // of the call; until patience is over an earlier one is set
	patient  bool
	second   net.Conn // opened when patience was over
}

func newConn(socket net.Conn, dial func(ctx context.Context) (net.Conn, error)) *conn {
	k := &conn{Conn: socket, dial: dial}
	k.in = records.NewReader(k)
	return k
}

// begin prepares for a call.
func (k *conn) begin(ctx context.Context, deadline time.Time) error {
	k.ctx, k.deadline, k.patient = ctx, deadline, true
	early := time.Now().Add(patience)
	if early.After(deadline) {
		early = deadline
	}
	return k.SetDeadline(early)
}

// end is called after a call.
func (k *conn) end() {
	k.ctx = nil
	if k.second != nil {
		_ = k.second.Close()
		k.second = nil
	}
}

// Read is that of the connection, with the deadline of the call.
func (k *conn) Read(p []byte) (int, error) {
	for {
		n, err := k.Conn.Read(p)
		if n > 0 || !k.goOn(err) {
			return n, err
		}
	}
}

// Write is that of the connection, with the deadline of the call.
func (k *conn) Write(p []byte) (int, error) {
	written := 0
	for {
		n, err := k.Conn.Write(p[written:])
		if written += n; written == len(p) || !k.goOn(err) {
			return written, err
		}
	}
}

// goOn reports whether an error only tells that patience is over. The second
// connection is then made, and the call waits on until its own deadline.
func (k *conn) goOn(err error) bool {
	if !isTimeout(err) || !k.patient || k.ctx.Err() != nil {
		return false
	}
	k.patient = false
	if second, err := k.dial(k.ctx); err == nil { // otherwise the call just waits
		k.second = second
	}
	if err := k.SetDeadline(k.deadline); err != nil {
		return false
	}
	return k.ctx.Err() == nil // or the end of the context has set a deadline that is now gone
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// reply is the answer to one request.
type reply struct {
	records  []records.Record
	result   records.Result
	reusable bool // the connection may be used again
}

// exchange sends a request and reads its answer.
func (k *conn) exchange(message []byte) (*reply, error) {
	if err := k.upgrade(); err != nil {
		return nil, err
	}
	// A failed write is told only if no answer comes.
	_, writeErr := k.Write(message)
	if err := k.in.Wait(); err != nil {
		return nil, closed(err, writeErr)
	}
	answer := &reply{reusable: writeErr == nil}
	for {
		frame, err := k.in.Next(math.MaxUint32)
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		switch frame.Kind {
		case records.Some:
			answer.records, err = split(answer.records, frame.Content)
			clear(frame.Content)
		case records.Done:
			answer.result, err = records.ParseResult(frame.Content)
			return answer, err
		default:
			err = fmt.Errorf("%w: a frame of kind %d in an answer", records.ErrMalformed, frame.Kind)
		}
		if err != nil {
			return nil, err
		}
	}
}

// upgrade turns a new connection from HTTP to records.
func (k *conn) upgrade() error {
	if k.upgraded {
		return nil
	}
	_, writeErr := k.Write([]byte(records.UpgradeRequest))
	if err := k.in.Wait(); err != nil {
		return closed(err, writeErr)
	}
	if err := k.in.Text(records.UpgradeAnswer); err != nil {
		return fmt.Errorf("upgrade the connection: %w", err)
	}
	k.upgraded = true
	return nil
}

// closed is the error of a request to which no byte of an answer came.
func closed(readErr, writeErr error) error {
	switch {
	case isTimeout(readErr):
		return readErr
	case writeErr != nil:
		return fmt.Errorf("%w: %w", errClosed, writeErr)
	}
	return fmt.Errorf("%w: %w", errClosed, readErr)
}
