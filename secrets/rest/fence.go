package rest

import (
	"net/http"
	"sync"
)

// errLate refuses a change by who no longer speaks for a user's records.
var errLate = &refusal{http.StatusPreconditionFailed, "Somebody has loaded the records since."}

// fences keep late changes out. A change may still be on its way when the
// sssd_kcm that sent it is dead, or has given up waiting: it lies in a socket,
// or waits for the disk. Whoever loads the records next must not have them
// changed behind its back. So each load raises a fence with a word of its own,
// and every change that builds on that load says the word.
type fences struct {
	mu    sync.Mutex
	users map[uint32]*fence
}

// fence is that of one user.
type fence struct {
	mu   sync.Mutex // held while a change is made
	word string     // of the last load; "" before the first
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
// that say another word are refused from then on. A load without a word is
// only a look.
func (f *fences) raise(uid uint32, word string) {
	if word == "" {
		return
	}
	fence := f.of(uid)
	fence.mu.Lock()
	defer fence.mu.Unlock()
	fence.word = word
}

// pass makes a change, or refuses it as late. This service may have been
// started after the load; then the first word it hears is that of the living,
// for who was here before had its connections to another process.
func (f *fences) pass(uid uint32, word string, change func() error) error {
	if word == "" {
		return change()
	}
	fence := f.of(uid)
	fence.mu.Lock()
	defer fence.mu.Unlock()
	if fence.word == "" {
		fence.word = word
	}
	if fence.word != word {
		return errLate
	}
	return change()
}
