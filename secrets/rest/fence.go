package rest

import (
	"sync"

	"golang.org/x/sys/unix"

	"gosssd/secrets/records"
)

// fences keep late changes out. A change may still be on its way when the
// sssd_kcm that sent it is dead, or has given up waiting: it lies in a socket,
// or waits for the disk. Whoever loads the records next must not have them
// changed behind its back. So each load raises a fence with a token of its own,
// and every change that builds on that load carries the token.
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

// raise returns when the change that is being made, if any, is done; changes
// with another token are refused from then on. A load may be late as well: one
// whose client has hung up is refused, or it would shut out the load that came
// after it. Who loads without a token changes nothing.
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

// pass makes a change, or refuses it as late. This service may have been
// started after the load; then the first token that comes is that of the
// living, for who was here before had its connections to another process.
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
	raw, err := c.SyscallConn()
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
