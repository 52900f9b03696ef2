// Package linux gives what the product asks of the operating system in more
// than one place and the standard library does not have: files that are whole
// or not there, sockets that take a path in one step, who is at the other end
// of a socket, changes of a directory, and waits that a context ends. It imports nothing of ours, and
// everybody may import it.
package linux

import (
	"context"
	"time"
)

// The deadlines of [os.File.SetReadDeadline] that lift a wait and end it.
var (
	noDeadline = time.Time{}
	longAgo    = time.Unix(1, 0)
)

// Sleep waits for d, or until the context ends.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
