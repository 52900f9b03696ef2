package rest

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"gosssd/secrets/records"
)

// fences keep late changes out. When an sssd_kcm dies, or gives up waiting, a
// change that it sent may still lie in a socket or wait for the disk. It must
// not be made after the records were loaded again: the new state in sssd_kcm
// would lack it. So each load sets a new fencing token, and every change
// carries the token of the load that it builds on.
type fences struct {
	mu    sync.Mutex
	users map[uint32]*fence
}

// fence is that of one user.
type fence struct {
	mu    sync.Mutex // held while a change is made
	token records.Token
}

func (f *fences) of(uid uint32) *fence {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.users == nil {
		f.users = map[uint32]*fence{}
	}
	if f.users[uid] == nil {
		f.users[uid] = &fence{}
	}
	return f.users[uid]
}

// raise sets the token of a user; changes with another one are refused from
// then on. It waits for the change that is being made. A load may be late as
// well: if its client has hung up it is refused, since its token would take the
// place of that of a later load. A load without a token raises no fence.
func (f *fences) raise(uid uint32, token records.Token, hungUp func() bool) error {
	if token == (records.Token{}) {
		return nil
	}
	fence := f.of(uid)
	fence.mu.Lock()
	defer fence.mu.Unlock()
	if hungUp() {
		return errStale
	}
	fence.token = token
	return nil
}

// pass makes a change, or refuses it as late. If this service was started after
// the load, the first token that comes is taken for the right one: an sssd_kcm
// that ended before was connected to the service that ended, too.
func (f *fences) pass(uid uint32, token records.Token, change func() error) error {
	if token == (records.Token{}) {
		return change()
	}
	fence := f.of(uid)
	fence.mu.Lock()
	defer fence.mu.Unlock()
	if fence.token == (records.Token{}) {
		fence.token = token
	}
	if fence.token != token {
		return errStale
	}
	return change()
}

// hungUp reports whether the client has closed the connection. What it sent
// before can still be read then.
func (c *session) hungUp() bool {
	if told, ok := c.socket.(Connection); ok {
		return told.HungUp()
	}
	conn, ok := c.socket.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	poll := []unix.PollFd{{}}
	failed := raw.Control(func(fd uintptr) {
		poll[0].Fd = int32(fd)
		_, err = unix.Poll(poll, 0)
	})
	return failed != nil || err == nil && poll[0].Revents&unix.POLLHUP != 0
}
