package hook

import (
	"slices"
	"time"
)

// How many events may wait, of one user and of all.
const (
	maxUserWaiting = 128
	maxWaiting     = 16384
)

// queue holds the events that wait, by user. Users take turns.
type queue struct {
	users   map[uint32]*line
	turns   []*line // that have something to start, the next first
	waiting int
	crowd   int // as soon as there are so many users, some are forgotten
	all     bucket
}

// line is what waits for one user.
type line struct {
	uid     uint32
	events  []Event
	inTurns bool
	running bool
	starts  bucket
}

func newQueue() *queue {
	return &queue{users: map[uint32]*line{}, all: bucket{perMinute: allMinute, left: allMinute}}
}

// add takes an event; false if there is no room for it. What waits already of
// the same cache is made one with it: only the latest is of use.
func (q *queue) add(e Event, now time.Time) bool {
	l := q.users[e.UID]
	if l == nil {
		q.forget(now)
		l = &line{uid: e.UID, starts: bucket{perMinute: userMinute, left: userMinute, at: now}}
		q.users[e.UID] = l
	}
	if i := slices.IndexFunc(l.events, func(w Event) bool { return w.Cache == e.Cache }); i >= 0 {
		waits := l.events[i]
		l.events = slices.Delete(l.events, i, i+1)
		q.waiting--
		switch {
		case e.Kind == Destroyed && waits.first:
			return true // nobody has been told of the cache
		case waits.Kind == Created && e.Kind != Destroyed:
			e.Kind, e.first = Created, waits.first
		}
	}
	if len(l.events) >= maxUserWaiting || q.waiting >= maxWaiting {
		return false
	}
	l.events = append(l.events, e)
	q.waiting++
	if !l.inTurns {
		l.inTurns = true
		q.turns = append(q.turns, l)
	}
	return true
}

// take returns an event whose program may start now; or how long none may.
// ended must be called afterwards.
func (q *queue) take(now time.Time) (e Event, found bool, pause time.Duration) {
	if pause = q.all.pause(now); pause > 0 {
		return Event{}, false, pause
	}
	q.turns = slices.DeleteFunc(q.turns, func(l *line) bool {
		l.inTurns = len(l.events) > 0
		return !l.inTurns
	})
	pause = longestLook
	for i, l := range q.turns {
		if l.running {
			continue
		}
		if full := l.starts.pause(now); full > 0 {
			pause = min(pause, full)
			continue
		}
		e = l.events[0]
		l.events = slices.Delete(l.events, 0, 1)
		q.waiting--
		l.running = true
		l.starts.left--
		q.all.left--
		q.turns = append(slices.Delete(q.turns, i, i+1), l)
		return e, true, 0
	}
	return Event{}, false, pause
}

// ended says that the program of a user has ended.
func (q *queue) ended(uid uint32) { q.users[uid].running = false }

// forget forgets the users of whom there is nothing to remember, whenever their
// number has doubled.
func (q *queue) forget(now time.Time) {
	if len(q.users) < q.crowd {
		return
	}
	for uid, l := range q.users {
		l.starts.fill(now)
		if len(l.events) == 0 && !l.running && !l.inTurns && l.starts.left >= l.starts.perMinute {
			delete(q.users, uid)
		}
	}
	q.crowd = 2*len(q.users) + 64
}

// clear takes all that waits.
func (q *queue) clear() (events []Event) {
	for _, l := range q.turns {
		events = append(events, l.events...)
		l.events = nil
	}
	q.turns, q.waiting = nil, 0
	return events
}

// bucket bounds the starts within a minute.
type bucket struct {
	perMinute float64
	left      float64 // starts
	at        time.Time
}

func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.left = min(b.perMinute, b.left+b.perMinute*passed.Minutes())
	}
	b.at = now // a clock that is set back takes nothing away
}

// pause returns how long it is until there may be a start; 0 if there may be
// one now.
func (b *bucket) pause(now time.Time) time.Duration {
	b.fill(now)
	if b.left >= 1 {
		return 0
	}
	return time.Duration((1-b.left)/b.perMinute*float64(time.Minute)) + time.Millisecond
}
