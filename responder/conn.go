package responder

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"gosssd/linux"
	"gosssd/responder/log"
)

// Peer is who is at the other end of a connection: as the kernel told when it
// was accepted, or as the identity socket says through which it came.
type Peer = linux.Peer

// Conn is the connection of one client. Every read and write counts as
// activity of the client.
type Conn struct {
	*net.UnixConn
	Peer   Peer
	Socket string      // the identity socket through which the client came; "" for the main one
	ID     uint64      // counts up over the life of the process; CID# in the log
	Log    *log.Logger // names the client in every line, and the identity socket

	lastActive atomic.Int64 // nanoseconds on the monotonic clock of started
	activity   *atomic.Int64

	ending, closed bool // told to end; without a descriptor; both are guarded by the server
}

var started = time.Now()

func (e endpoint) newConn(c *net.UnixConn, id uint64, logger *log.Logger, activity *atomic.Int64) (*Conn, error) {
	peer, err := e.peerOf(c)
	if err != nil {
		return nil, err
	}
	conn := &Conn{UnixConn: c, Peer: peer, ID: id, Log: logger.Client(id, peer.UID), activity: activity}
	if e.identity != nil {
		conn.Socket = e.identity.socket
		conn.Log = conn.Log.Naming("socket", conn.Socket)
	}
	conn.touch()
	return conn, nil
}

// Read reads from the client and notes that it is alive.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.UnixConn.Read(p)
	c.touch()
	return n, err
}

// Write writes to the client and notes that it is alive.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.UnixConn.Write(p)
	c.touch()
	return n, err
}

// RequestDeadline limits the time of a request that has begun to come, and lifts the limit
// between requests. The deadline is set only when that changes.
type RequestDeadline struct{ begun bool }

// Set sets the deadline of conn, which is always the same one, to limit from
// now if a request has begun, and to none if not.
func (d *RequestDeadline) Set(conn interface{ SetReadDeadline(time.Time) error }, begun bool, limit time.Duration) error {
	if begun == d.begun {
		return nil
	}
	d.begun = begun
	var deadline time.Time
	if begun {
		deadline = time.Now().Add(limit)
	}
	if err := conn.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("deadline of a request: %w", err)
	}
	return nil
}

// Touch notes that the client is alive. What goes past Write calls it.
func (c *Conn) Touch() { c.touch() }

// Active is when the client was last read from or written to, on a clock that
// only goes forward. Nothing is asked for it.
func (c *Conn) Active() time.Duration { return time.Duration(c.lastActive.Load()) }

func (c *Conn) touch() {
	now := int64(time.Since(started))
	c.lastActive.Store(now)
	c.activity.Store(now)
}
