package kcm

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"gosssd/confdb"
	"gosssd/kcm/logins"
	"gosssd/kcm/protocol"
	"gosssd/linux"
	"gosssd/responder/metric"
)

// Which caches end with a login session.
//
// With session_caches a cache ends with the session it was made in, if its name
// comes from GEN_NEW: whoever chose a name, or uses the bare one, wants to find
// it again. Programs that log a user in make it before there is a session, and
// are put into the session later; so the process that made it is looked after for
// a minute. The session is kept in the header of the cache, so that an end that
// nobody was there to see is noticed at the next start.
//
// Of two sessions a cache belongs to neither: who initializes it again from
// another place than its session frees it. What is in doubt stays.

// Sessions tells of login sessions.
type Sessions interface {
	// Place returns where a process is among what a user has running.
	Place(p *linux.Process, uid uint32) logins.Place
	// Ended reports whether a session is over for certain.
	Ended(s logins.Session) bool
	// Follow has Next tell of the ends of a user's sessions from now on. The
	// error wraps fs.ErrNotExist if there are none.
	Follow(uid uint32) error
	// Next returns a user of whom a session has ended; false after Close.
	Next() (uid uint32, open bool)
	Close() error
}

// bound is the part of a Server that ends caches with login sessions. A nil
// one binds nothing.
type bound struct {
	Sessions
	server  *Server
	lastToo bool // the default cache ends with the last session

	wake chan struct{} // has a value when there is something to look at

	mu      sync.Mutex
	users   map[uint32][]logins.Session // what their caches end with
	look    map[uint32]time.Time        // at whose sessions, and when
	pending []*pending
}

// pending is a cache whose maker may still be put into a session.
type pending struct {
	uid   uint32
	id    protocol.UUID
	maker *linux.Process
	at    time.Time     // of the next look
	pause time.Duration // after that
}

// How often the maker of a cache is looked at: soon, since logins are short,
// and then ever more rarely.
const (
	firstLook  = 10 * time.Millisecond
	lastLook   = time.Minute
	maxPending = 256 // each holds a descriptor
)

// retrySessions is the pause after which caches that could not be removed, or
// users that could not be followed, are tried again.
const retrySessions = time.Minute

// newBound returns nil where no cache is to end with a session, or none can be
// seen here.
func newBound(s *Server, conf *confdb.Snapshot, open func() (Sessions, error)) *bound {
	if !bindsSessions(conf) {
		return nil
	}
	sessions, err := open()
	if err != nil {
		s.users.log.Error("session_caches has no effect: caches do not end with login sessions", "error", err)
		return nil
	}
	return &bound{
		Sessions: sessions, server: s, lastToo: conf.Section(section).String(sessionsKey) == sessionsDefault, wake: make(chan struct{}, 1),
		users: map[uint32][]logins.Session{}, look: map[uint32]time.Time{},
	}
}

// learn is told every state of a user that is loaded or published.
func (b *bound) learn(uid uint32, s *state) {
	if b == nil {
		return
	}
	var now []logins.Session
	for _, c := range s.caches {
		if c.session != nil && !slices.Contains(now, *c.session) {
			now = append(now, *c.session)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.users[uid]
	if len(now) == 0 {
		delete(b.users, uid)
		return
	}
	b.users[uid] = now
	if slices.ContainsFunc(now, func(s logins.Session) bool { return !slices.Contains(before, s) }) {
		b.lookAt(uid, time.Time{})
	}
}

// lookAt has run look at a user's sessions. The caller holds mu.
func (b *bound) lookAt(uid uint32, at time.Time) {
	b.look[uid] = at
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run ends caches until ctx ends.
func (b *bound) run(ctx context.Context) {
	var told sync.WaitGroup
	told.Go(b.listen)
	defer told.Wait()
	defer func() { _ = b.Close() }() // nothing is written to it
	defer b.giveUp()
	for {
		next := b.dueNow(ctx)
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-b.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// listen takes the news of ends, until Close.
func (b *bound) listen() {
	for {
		uid, open := b.Next()
		if !open {
			return
		}
		b.mu.Lock()
		if b.users[uid] != nil {
			b.lookAt(uid, time.Time{})
		}
		b.mu.Unlock()
	}
}

// dueNow looks at what is due and returns how long nothing else is.
func (b *bound) dueNow(ctx context.Context) time.Duration {
	now, next := time.Now(), time.Hour
	b.mu.Lock()
	var uids []uint32
	for uid, at := range b.look {
		if wait := at.Sub(now); wait > 0 {
			next = min(next, wait)
			continue
		}
		delete(b.look, uid)
		uids = append(uids, uid)
	}
	var makers []*pending
	for _, p := range b.pending {
		if wait := p.at.Sub(now); wait > 0 {
			next = min(next, wait)
		} else {
			makers = append(makers, p)
			next = min(next, p.pause)
		}
	}
	b.mu.Unlock()
	for _, uid := range uids {
		b.lookAtSessions(ctx, uid)
	}
	for _, p := range makers {
		b.lookAtMaker(ctx, p)
	}
	return next
}

// lookAtSessions ends the caches of a user whose sessions are over.
func (b *bound) lookAtSessions(ctx context.Context, uid uint32) {
	b.mu.Lock()
	sessions := slices.Clone(b.users[uid])
	b.mu.Unlock()
	if len(sessions) == 0 {
		return
	}
	// First, so that no end falls between the look and the news.
	err := b.Follow(uid)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	over := slices.DeleteFunc(sessions, func(s logins.Session) bool { return !b.Ended(s) })
	if len(over) > 0 {
		err = errors.Join(err, b.end(ctx, uid, over))
	}
	if err != nil && ctx.Err() == nil {
		b.server.users.log.Error("caches of login sessions that are over stay for now", "uid", uid, "error", err)
		b.mu.Lock()
		b.lookAt(uid, time.Now().Add(retrySessions))
		b.mu.Unlock()
	}
}

// end removes the caches of sessions of a user that are over.
func (b *bound) end(ctx context.Context, uid uint32, over []logins.Session) error {
	c := b.server.users.of(uid)
	return b.server.inspect(ctx, c, func(*state) error {
		return c.apply(ctx, func(e *edit) error {
			for _, session := range over {
				e.endWith(session)
			}
			return nil
		})
	})
}

// endWith removes what ends with a session. With the last session of a user it
// is the default cache; one that was the default before is free.
func (e *edit) endWith(session logins.Session) {
	gone := purged{why: "session " + session.Name + " is over"}
	if session.Name == "" {
		gone.why = "the last session is over"
	}
	d := e.defaultCache()
	for _, c := range e.caches {
		switch {
		case c.session == nil || *c.session != session:
		case session.Name == "" && c != d:
			e.bind(c, nil)
		default:
			gone.cache(c)
			e.remove(c)
		}
	}
	e.note(gone)
}

// bind has a cache end with a session, or with none.
func (e *edit) bind(c *cache, session *logins.Session) {
	next := c.copy()
	next.session = session
	e.header(next)
}

// await looks after the maker of a new cache, which it takes over.
func (b *bound) await(uid uint32, id protocol.UUID, maker *linux.Process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.pending) >= maxPending {
		maker.Close()
		return
	}
	b.pending = append(b.pending, &pending{uid: uid, id: id, maker: maker, at: time.Now().Add(firstLook), pause: 2 * firstLook})
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// lookAtMaker binds a cache whose maker is in a session now.
func (b *bound) lookAtMaker(ctx context.Context, p *pending) {
	place := b.Place(p.maker, p.uid)
	switch {
	case place.Session != logins.Session{}:
		session := place.Session
		err := b.server.users.of(p.uid).changeCache(ctx, p.id, func(e *edit, c *cache) error {
			if c.session == nil || c.session.Name == "" {
				e.bind(c, &session)
			}
			return nil
		})
		switch {
		case err == nil:
			b.server.users.log.Info("a cache ends with the login session that its maker has entered", "uid", p.uid, "session", session.Name)
		case !errors.Is(err, errNoCache):
			b.server.users.log.Error("a cache does not end with its login session", "uid", p.uid, "session", session.Name, "error", err)
		}
	case !p.maker.Ended() && p.pause < lastLook:
		b.mu.Lock()
		p.at = time.Now().Add(p.pause)
		p.pause *= 2
		b.mu.Unlock()
		return
	}
	p.maker.Close()
	b.mu.Lock()
	b.pending = slices.DeleteFunc(b.pending, func(other *pending) bool { return other == p })
	b.mu.Unlock()
}

// giveUp lets all makers go.
func (b *bound) giveUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pending {
		p.maker.Close()
	}
	b.pending = nil
}

// owed reports whether there are sessions whose ends are waited for.
func (b *bound) owed() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.users) > 0 || len(b.pending) > 0
}

// metrics tells how many login sessions have caches.
func (b *bound) metrics() []metric.Family {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, sessions := range b.users {
		n += len(sessions)
	}
	return []metric.Family{metric.One(metric.Gauge, "gosssd_kcm_bound_sessions", "", "sessions with caches", "Login sessions with which caches end", float64(n))}
}
