package kcm

import (
	"sync"
	"time"
)

// census counts the caches of all users, for max_ccaches. Until it is
// complete it knows only of users that were in memory once. A user whose
// records cannot be read is left out, so that others can log in, and is tried
// again later.
type census struct {
	mu       sync.Mutex
	caches   map[uint32]int
	total    int // of caches, and what is reserved
	complete bool
	unread   map[uint32]bool
	asked    time.Time // when the unread were last asked for
}

// reserve counts one cache more if fewer than limit are counted.
func (n *census) reserve(limit int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.total >= limit {
		return false
	}
	n.total++
	return true
}

// release takes back what was reserved for a change that was not made.
func (n *census) release(reserved int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.total -= reserved
}

// count sets how many caches a user has, of which some had been reserved.
func (n *census) count(uid uint32, count, reserved int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.total += count - n.caches[uid] - reserved
	delete(n.unread, uid)
	if count == 0 {
		delete(n.caches, uid)
	} else {
		n.caches[uid] = count
	}
}

func (n *census) isComplete() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.complete
}

func (n *census) completed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.complete = true
	n.asked = time.Now()
}

// leaveOut notes a user who cannot be counted.
func (n *census) leaveOut(uid uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.unread[uid] = true
}

// askAgain is how long a user who could not be counted is left alone.
const askAgain = time.Minute

// due returns whom to ask for again now.
func (n *census) due() (uids []uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.unread) == 0 || time.Since(n.asked) < askAgain {
		return nil
	}
	n.asked = time.Now()
	for uid := range n.unread {
		uids = append(uids, uid)
	}
	return uids
}

// chowned knows the caches that root has given to a user other than the one in
// their name (CHOWN), so that root finds them by name. It knows those that have
// been in memory since the start.
type chowned struct {
	mu    sync.Mutex
	owner map[string]uint32
}

func (s *chowned) find(name []byte) (uid uint32, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	uid, found = s.owner[string(name)]
	return uid, found
}

// learn notes which caches of a user bear another user's name.
func (s *chowned) learn(uid uint32, state *state) {
	for _, c := range state.caches {
		if ownerOf([]byte(c.name)) != uid {
			s.mu.Lock()
			s.owner[c.name] = uid
			s.mu.Unlock()
		}
	}
}
