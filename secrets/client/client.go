// Package client keeps Kerberos credential caches in the kcm hive of the
// secrets service. It speaks the little of HTTP/1.1 that this needs, over
// connections that are kept, so that the process using it stays small.
package client

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"time"

	"gosssd/secrets/records"
)

const (
	// maxConns bounds the connections to the service, busy and kept. What is
	// sent at the same time is committed together, half of it on average.
	maxConns = 32
	// callTimeout bounds one call, the start of the service included: its
	// socket may be held by systemd and the process only be starting.
	callTimeout = 30 * time.Second
)

// Client is the kcm hive of a secrets service. It is safe for concurrent use.
type Client struct {
	path  string
	slots chan struct{} // one for every connection in use
	kept  chan *conn    // connections at rest

	mu    sync.Mutex
	words map[uint32]string // of each user's last load; see records.Fence
}

// New returns a client of the service that listens at path. The connection is
// made when the first call needs it.
func New(path string) *Client {
	return &Client{
		path:  path,
		slots: make(chan struct{}, maxConns),
		kept:  make(chan *conn, maxConns),
		words: map[uint32]string{},
	}
}

const hive = "/kcm/persistent/"

func owned(uid uint32) string { return hive + strconv.FormatUint(uint64(uid), 10) + "/" }

// Owners lists the users that have records.
func (c *Client) Owners(ctx context.Context) ([]uint32, error) {
	body, err := c.call(ctx, "GET", hive, "", nil)
	if err != nil {
		return nil, fmt.Errorf("list owners at %s: %w", c.path, err)
	}
	all, err := records.Parse(body)
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

// Load returns every record of one user by its key; none is not an error.
// Changes that were sent before and are still on their way will not be made.
func (c *Client) Load(ctx context.Context, uid uint32) (map[string][]byte, error) {
	word := rand.Text()
	body, err := c.call(ctx, "GET", owned(uid), word, nil)
	if err != nil {
		return nil, fmt.Errorf("load records of uid %d at %s: %w", uid, c.path, err)
	}
	all, err := records.ParseMap(body)
	if err != nil {
		return nil, fmt.Errorf("load records of uid %d at %s: %w", uid, c.path, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.words[uid] = word
	return all, nil
}

// Commit makes all changes to the records of one user, or none; a nil value
// deletes. When it returns nil they are on disk. After an error that is
// neither ErrQuota nor ErrTooLarge it is not known whether they were made;
// making them again does no harm.
func (c *Client) Commit(ctx context.Context, uid uint32, changes map[string][]byte) error {
	size := 0
	for key, value := range changes {
		size += records.Size(key, value)
	}
	batch := make([]byte, 0, size)
	for key, value := range changes {
		batch = records.Append(batch, key, value)
	}
	defer clear(batch)
	c.mu.Lock()
	word := c.words[uid]
	c.mu.Unlock()
	if _, err := c.call(ctx, "PATCH", owned(uid), word, batch); err != nil {
		return fmt.Errorf("commit records of uid %d at %s: %w", uid, c.path, err)
	}
	return nil
}

// Close closes the connections at rest. Calls must have ended before.
func (c *Client) Close() error {
	for {
		select {
		case k := <-c.kept:
			k.Close()
		default:
			return nil
		}
	}
}
