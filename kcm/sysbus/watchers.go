package sysbus

import (
	"sync"
	"sync/atomic"
)

// Bounds of who is told of changes.
const (
	maxWatchers     = 4096 // connections of all users
	maxUserWatchers = 32   // connections of one user
)

// watchers are the connections that want to know of changes, by their owners.
type watchers struct {
	count atomic.Int64 // is 0 where nobody listens, without the lock

	mu     sync.Mutex
	byName map[string]uint32 // unique name of a connection, and its uid
	byUID  map[uint32][]string
}

func newWatchers() *watchers {
	return &watchers{byName: map[string]uint32{}, byUID: map[uint32][]string{}}
}

// add reports whether name is new, and whether there is room for it.
func (w *watchers) add(name string, uid uint32) (isNew, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.byName[name]; known {
		return false, true
	}
	if len(w.byName) >= maxWatchers || len(w.byUID[uid]) >= maxUserWatchers {
		return false, false
	}
	w.byName[name] = uid
	w.byUID[uid] = append(w.byUID[uid], name)
	w.count.Add(1)
	return true, true
}

// remove reports whether name was among them.
func (w *watchers) remove(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	uid, known := w.byName[name]
	if !known {
		return false
	}
	delete(w.byName, name)
	w.count.Add(-1)
	var rest []string
	for _, other := range w.byUID[uid] {
		if other != name {
			rest = append(rest, other)
		}
	}
	if w.byUID[uid] = rest; rest == nil {
		delete(w.byUID, uid)
	}
	return true
}

// clear forgets all: the bus has gone.
func (w *watchers) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.byName)
	clear(w.byUID)
	w.count.Store(0)
}

// of returns the connections of a user. The caller must not change the slice.
func (w *watchers) of(uid uint32) []string {
	if w.count.Load() == 0 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byUID[uid]
}
