// Package client keeps Kerberos credential caches in the kcm hive of the
// secrets service. After an HTTP upgrade, whose two messages are constants, it
// speaks the protocol of package records, so that the process using it need
// not link an HTTP implementation.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"gosssd/linux"
	"gosssd/secrets/records"
)

const (
	// maxConns bounds the connections to the service, busy and idle. What is
	// sent at the same time is committed together, half of it on average.
	maxConns = 32
	// callTimeout bounds one call, the start of the service included: its
	// socket may be held by systemd and the process only be starting.
	callTimeout = 30 * time.Second
	// maxLoads is how often a load is tried while the records change.
	maxLoads = 5
)

// Client is the kcm hive of a secrets service. It is safe for concurrent use.
type Client struct {
	path  string // for errors
	dial  func(ctx context.Context) (net.Conn, error)
	slots chan struct{} // one for every connection in use
	idle  chan *conn    // connections at rest

	mu     sync.Mutex
	tokens map[uint32]records.Token // of each user's last load
}

// New returns a client of the service that listens at path. The connection is
// made when the first call needs it.
func New(path string) *Client {
	return Over(path, func(ctx context.Context) (net.Conn, error) { return linux.Dial(ctx, path) })
}

// Over is New with connections from dial, of which path is the name in errors.
func Over(path string, dial func(ctx context.Context) (net.Conn, error)) *Client {
	return &Client{
		path:   path,
		dial:   dial,
		slots:  make(chan struct{}, maxConns),
		idle:   make(chan *conn, maxConns),
		tokens: map[uint32]records.Token{},
	}
}

// Owners lists the users that have records.
func (c *Client) Owners(ctx context.Context) ([]uint32, error) {
	message := records.Begin(nil, records.Owners)
	records.End(message)
	all, err := c.call(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("list owners at %s: %w", c.path, err)
	}
	owners := make([]uint32, 0, len(all))
	for _, record := range all {
		uid, err := strconv.ParseUint(record.Key, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("list owners at %s: %w", c.path, records.ErrMalformed)
		}
		owners = append(owners, uint32(uid))
	}
	return owners, nil
}

// Load calls each with every record of one user; each may keep the value.
// Changes that were sent before and are still on their way will not be made.
func (c *Client) Load(ctx context.Context, uid uint32, each func(key string, value []byte) error) error {
	all, err := c.load(ctx, uid)
	for tries := 1; errors.Is(err, errChanged) && tries < maxLoads; tries++ {
		all, err = c.load(ctx, uid)
	}
	if err != nil {
		return fmt.Errorf("load records of uid %d at %s: %w", uid, c.path, err)
	}
	for _, record := range all {
		if err := each(record.Key, record.Value); err != nil {
			return err
		}
	}
	return nil
}

// load returns all records of one user, in no order.
func (c *Client) load(ctx context.Context, uid uint32) ([]records.Record, error) {
	subject := records.Subject{UID: uid}
	if _, err := rand.Read(subject.Token[:]); err != nil {
		return nil, err
	}
	message := subject.AppendTo(records.Begin(nil, records.Load))
	records.End(message)
	all, err := c.call(ctx, message)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens[uid] = subject.Token
	return all, nil
}

// Commit makes all changes to the records of one user, or none; a nil value
// deletes. When it returns nil they are on disk. A StatusError of which Quota,
// Stale or Full is true means that none was made; after any other error it is
// not known whether they were, and making them again does no harm.
func (c *Client) Commit(ctx context.Context, uid uint32, changes map[string][]byte) error {
	size := 64 // head and subject
	for key, value := range changes {
		size += records.Size(key, value)
	}
	c.mu.Lock()
	subject := records.Subject{UID: uid, Token: c.tokens[uid]}
	c.mu.Unlock()
	message := subject.AppendTo(records.Begin(make([]byte, 0, size), records.Commit))
	for key, value := range changes {
		message = records.Append(message, key, value)
	}
	records.End(message)
	defer clear(message)
	if _, err := c.call(ctx, message); err != nil {
		return fmt.Errorf("commit records of uid %d at %s: %w", uid, c.path, err)
	}
	return nil
}

// Volatile is false: the service keeps records on disk.
func (c *Client) Volatile() bool { return false }

// Close closes the connections at rest. Calls must have ended before.
func (c *Client) Close() error {
	for {
		select {
		case k := <-c.idle:
			_ = k.Close()
		default:
			return nil
		}
	}
}

// split appends the records in b to all. Each value gets memory of its own, so
// that one that is kept does not keep the others.
func split(all []records.Record, b []byte) ([]records.Record, error) {
	for len(b) > 0 {
		record, rest, err := records.Cut(b)
		if err != nil {
			return nil, err
		}
		record.Value = bytes.Clone(record.Value)
		all, b = append(all, record), rest
	}
	return all, nil
}
