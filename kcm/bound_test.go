package kcm

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gosssd/kcm/logins"
	"gosssd/kcm/protocol"
	"gosssd/linux"
	"gosssd/responder/log"
	"gosssd/responder/metric"
)

// fakeSessions has one user, 1000, whose sessions the test begins and ends.
type fakeSessions struct {
	mu     sync.Mutex
	at     logins.Place // where every client of the user is
	over   map[logins.Session]bool
	ends   chan uint32
	closed chan struct{}
}

func newFakeSessions() *fakeSessions { return &fakeSessions{over: map[logins.Session]bool{}} }

// open is for each start of the server.
func (f *fakeSessions) open() *fakeSessions {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ends, f.closed = make(chan uint32), make(chan struct{})
	return f
}

func (f *fakeSessions) Place(_ *linux.Process, uid uint32) logins.Place {
	f.mu.Lock()
	defer f.mu.Unlock()
	if uid != 1000 {
		return logins.Place{}
	}
	return f.at
}

func (f *fakeSessions) Ended(s logins.Session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over[s]
}

func (f *fakeSessions) Follow(uid uint32) error {
	if uid != 1000 {
		return fs.ErrNotExist
	}
	return nil
}

func (f *fakeSessions) Next() (uint32, bool) {
	select {
	case uid := <-f.ends:
		return uid, true
	case <-f.closed:
		return 0, false
	}
}

func (f *fakeSessions) Close() error {
	close(f.closed)
	return nil
}

// enter puts every client of the user into a session, or outside with "".
func (f *fakeSessions) enter(session string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = logins.Place{}
	if session != "" {
		f.at = logins.Place{Session: sessionNamed(session), User: sessionNamed("")}
	}
}

// end ends a session; "" is the last one. The server is told if it runs.
func (f *fakeSessions) end(session string) {
	f.mu.Lock()
	f.over[sessionNamed(session)] = true
	f.mu.Unlock()
	f.ends <- 1000
}

func sessionNamed(name string) logins.Session {
	return logins.Session{Boot: [16]byte{7}, Root: 1, Group: 1 << 40, UID: 1000, Name: name}
}

// sessionRig is a rig with login sessions.
func sessionRig(t *testing.T, word string) *rig {
	t.Helper()
	r := newRig(t, nil)
	r.logins = newFakeSessions()
	r.restart(conf{sessionsKey: word})
	return r
}

// restart ends the server and starts another on the same store.
func (r *rig) restart(set conf) {
	r.t.Helper()
	if err := r.server.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.start(set)
}

// until waits for something.
func (r *rig) until(what string, done func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited for %s in vain; the log says:\n%s", what, r.logged)
		}
	}
}

// becomes waits until the caches of user 1000 are these.
func (r *rig) becomes(want ...string) {
	r.t.Helper()
	r.until(strings.Join(want, ", ")+" and no other cache", func() bool {
		state, err := r.server.users.of(1000).view(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		var names []string
		for _, c := range state.caches {
			names = append(names, c.name)
		}
		return slices.Equal(names, want)
	})
}

func TestACacheOfASessionEndsWithItAndNoOther(t *testing.T) {
	r := sessionRig(t, wordYes)
	r.logins.enter("1")
	c, other := r.client(1000), r.client(1001)
	c.login("1000", "alice")
	c.login("1000:mine", "alice")
	first := c.generated()
	c.login(first, "bob")
	other.login("1001", "carol")
	r.logins.enter("2")
	second := c.generated()
	c.login(second, "bob")
	r.signals.take()
	r.server.users.log.SetMask(log.Mask(4))
	if r.server.MayExit() {
		t.Error("the server may end before it has seen the ends of sessions")
	}
	r.logins.end("1")
	r.becomes("1000", "1000:mine", second)
	r.logins.end("2")
	r.becomes("1000", "1000:mine")
	r.until("two lines of the log", func() bool { return strings.Count(r.logged.String(), "is over") == 2 })
	r.until("two signals", func() bool { return strings.Count(r.signals.String(), "CacheDestroyed") == 2 })
	const want = "purge: uid=1000 why=\"session 2 is over\" caches=1 credentials=0 principals=bob@EXAMPLE.ORG"
	if !strings.Contains(r.logged.String(), want) {
		t.Errorf("no line %s in:\n%s", want, r.logged)
	}
	equal(t, "the other user's", other.caches(), []string{"1001"})
	if !r.server.MayExit() {
		t.Error("the server stays, and no session has a cache")
	}
}

func TestTheEndOfASessionThatNobodySawIsNoticedAtTheNextStart(t *testing.T) {
	r := sessionRig(t, wordYes)
	r.logins.enter("1")
	c := r.client(1000)
	c.login("1000", "alice")
	gone, stays := c.generated(), ""
	c.login(gone, "alice")
	r.logins.enter("2")
	stays = c.generated()
	c.login(stays, "alice")
	set := conf{sessionsKey: wordYes}
	r.restart(set)
	equal(t, "caches while all sessions live", r.client(1000).caches(), []string{"1000", gone, stays})
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	r.logins.over[sessionNamed("1")] = true
	r.start(set)
	r.becomes("1000", stays)
}

func TestWithoutTheOptionOrLogindNothingEnds(t *testing.T) {
	for what, given := range map[string]func(r *rig){
		"off":       func(r *rig) { r.restart(conf{sessionsKey: wordNo}) },
		"no logind": func(r *rig) { r.logins = nil; r.restart(conf{sessionsKey: wordYes}) },
	} {
		t.Run(what, func(t *testing.T) {
			r := sessionRig(t, wordYes)
			r.logins.enter("1")
			c := r.client(1000)
			name := c.generated()
			c.login(name, "alice")
			over := r.logins.over
			given(r)
			over[sessionNamed("1")] = true
			c = r.client(1000)
			equal(t, "caches", c.caches(), []string{name})
			if !r.server.MayExit() {
				t.Error("the server waits for the end of a session")
			}
			if says := strings.Contains(r.logged.String(), "session_caches has no effect"); says != (what == "no logind") {
				t.Errorf("the log says:\n%s", r.logged)
			}
		})
	}
}

// An sshd makes the cache before there is a session, and is put into that later.
func TestACacheMadeBeforeTheSessionIsBoundOnceItsMakerIsInIt(t *testing.T) {
	r := sessionRig(t, wordYes)
	c := r.client(1000)
	name := c.generated()
	c.must(protocol.OpSetDefaultCache, protocol.AppendName(nil, name))
	c.login(name, "alice")
	c.login("1000:mine", "alice")
	r.until("that its maker is looked at, in vain", func() bool { return r.server.bound.looked() })
	r.logins.enter("1")
	r.until("that the cache is bound", func() bool { return c.sessionOf(r, name) != nil })
	r.logins.end("1")
	r.becomes("1000:mine")
}

// looked reports whether the maker of a cache was looked at, and stays to be.
func (b *bound) looked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.pending) == 1 && b.pending[0].pause > 2*firstLook
}

// TestACacheThatWasBoundMeanwhileStaysSo: its maker comes into another session.
func TestACacheThatWasBoundMeanwhileStaysSo(t *testing.T) {
	r := sessionRig(t, wordYes)
	c := r.client(1000)
	name := c.generated()
	c.login(name, "alice")
	state, err := r.server.users.of(1000).view(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, second := state.byName([]byte(name)).id, sessionNamed("2")
	err = r.server.users.of(1000).changeCache(t.Context(), id, func(e *edit, c *cache) error {
		e.bind(c, &second)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.logins.enter("1")
	r.until("that its maker is let go", func() bool {
		r.server.bound.mu.Lock()
		defer r.server.bound.mu.Unlock()
		return len(r.server.bound.pending) == 0
	})
	if got := c.sessionOf(r, name); got == nil || *got != second {
		t.Errorf("it ends with %v", got)
	}
}

// TestMakersOfCachesAreBounded: each holds a descriptor.
func TestMakersOfCachesAreBounded(t *testing.T) {
	r := sessionRig(t, wordYes)
	for range maxPending + 10 {
		maker, err := linux.OpenProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		r.server.bound.await(1000, protocol.UUID{1}, maker)
	}
	r.server.bound.mu.Lock()
	defer r.server.bound.mu.Unlock()
	if n := len(r.server.bound.pending); n != maxPending {
		t.Errorf("%d are waited for", n)
	}
}

// sessionOf returns the session that a cache ends with.
func (c *client) sessionOf(r *rig, name string) *logins.Session {
	state, err := r.server.users.of(c.uid).view(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return state.byName([]byte(name)).session
}

func TestWhoInitializesACacheFromAnotherPlaceFreesIt(t *testing.T) {
	for what, again := range map[string]func(c *client, name string){
		"replace": func(c *client, name string) { c.login(name, "alice") },
		"initialize": func(c *client, name string) {
			c.must(protocol.OpInitialize, protocol.AppendName(nil, name), princ("alice@"+realm))
		},
	} {
		for place, want := range map[string]bool{"1": true, "2": false, "": false} {
			r := sessionRig(t, wordYes)
			r.logins.enter("1")
			c := r.client(1000)
			name := c.generated()
			c.login(name, "alice")
			r.logins.enter(place)
			c.must(protocol.OpStore, protocol.AppendName(nil, name), service("alice", "host/a")) // which frees nothing
			again(c, name)
			if bound := c.sessionOf(r, name) != nil; bound != want {
				t.Errorf("%s from session %q: bound %v, want %v", what, place, bound, want)
			}
		}
	}
}

func TestTheDefaultCacheEndsWithTheLastSessionIfItIsTo(t *testing.T) {
	tests := map[string]struct {
		word  string
		given func(r *rig, c *client)
		want  []string
	}{
		"it was used in a session": {sessionsDefault, func(r *rig, c *client) {
			c.login("1000", "alice")
			c.login("1000:mine", "alice")
			r.logins.enter("1")
			again := r.client(1000)
			again.servers("1000:mine")
			again.servers("1000")
		}, []string{"1000:mine"}},
		"it was made in a session": {sessionsDefault, func(r *rig, c *client) {
			r.logins.enter("1")
			c.login("1000", "alice")
		}, nil},
		"it is used outside only": {sessionsDefault, func(_ *rig, c *client) {
			c.login("1000", "alice")
			c.servers("1000")
		}, []string{"1000"}},
		"another became the default": {sessionsDefault, func(r *rig, c *client) {
			r.logins.enter("1")
			c.login("1000", "alice")
			r.logins.enter("")
			c.login("1000:mine", "alice")
			c.must(protocol.OpSetDefaultCache, name("1000:mine"))
		}, []string{"1000", "1000:mine"}},
		"it is not asked for": {wordYes, func(r *rig, c *client) {
			r.logins.enter("1")
			c.login("1000", "alice")
		}, []string{"1000"}},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			r := sessionRig(t, test.word)
			c := r.client(1000)
			test.given(r, c)
			r.logins.end("")
			r.until("no end of a session is waited for", func() bool { return metric.Words(r.server.Metrics())["sessions with caches"] == 0 })
			r.becomes(test.want...)
			if err := r.server.Close(); err != nil {
				t.Fatal(err)
			}
			r.start(conf{sessionsKey: test.word})
			r.becomes(test.want...)
		})
	}
}

func TestCachesOfASessionThatCannotBeRemovedAreRemovedLater(t *testing.T) {
	r := sessionRig(t, wordYes)
	r.logins.enter("1")
	c := r.client(1000)
	name := c.generated()
	c.login(name, "alice")
	r.store.set("commit", errors.New("no disk"))
	r.logins.end("1")
	r.until("a line of the log", func() bool { return strings.Contains(r.logged.String(), "stay for now") })
	r.store.set("", nil)
	equal(t, "caches", c.caches(), []string{name})
	b := r.server.bound
	r.until("that it is tried again, in a minute", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		at, planned := b.look[1000]
		if planned && time.Until(at) > retrySessions/2 {
			b.lookAt(1000, time.Time{})
			return true
		}
		return false
	})
	r.becomes()
}

func TestTheHeaderKeepsTheSession(t *testing.T) {
	session := sessionNamed("c12")
	for _, c := range []*cache{
		{id: protocol.UUID{1}, name: "1000:1", generated: true, session: &session, principal: princ("alice@" + realm)},
		{id: protocol.UUID{1}, name: "1000:1", generated: true, session: &session},
		{id: protocol.UUID{1}, name: "1000:1", generated: true, principal: princ("alice@" + realm)},
	} {
		record := encodeHeader(c)
		if bound := record[0] == boundVersion; bound != (c.session != nil) {
			t.Errorf("version %d for a cache with session %v", record[0], c.session)
		}
		got, err := decodeHeader(c.id, record)
		if err != nil {
			t.Fatal(err)
		}
		if (got.session == nil) != (c.session == nil) || c.session != nil && *got.session != *c.session ||
			got.name != c.name || string(got.principal) != string(c.principal) {
			t.Errorf("%+v became %+v", c, got)
		}
		for n := range record {
			if n > 0 && c.session != nil && c.principal == nil {
				if _, err := decodeHeader(c.id, record[:n]); err == nil {
					t.Errorf("%d bytes of %d are a header", n, len(record))
				}
			}
		}
	}
}
