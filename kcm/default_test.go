package kcm

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// generated returns a name that the server made up.
func (c *client) generated() string {
	c.t.Helper()
	return strings.TrimSuffix(string(c.must(protocol.OpGenNew)), "\x00")
}

// lasting makes a cache whose ticket lasts as many seconds.
func (c *client) lasting(cacheName, who string, lifetime int) {
	c.t.Helper()
	c.stock(cacheName, who, map[string]int{krbtgt: lifetime})
}

// A purge, by the interval or for a limit's sake, makes nobody another principal.
func TestTheDefaultChangesOnlyToAnHeir(t *testing.T) {
	const day = 24 * time.Hour
	tests := map[string]struct {
		given func(c *client) (want string)
		after time.Duration
		who   string // whose the default is afterwards
		left  int    // its credentials
	}{
		"within the grace the default stays, chosen or not": {
			func(c *client) string {
				c.lasting("1000", "alice", 100)
				c.lasting("1000:admin", "admin", 200000)
				return "1000"
			}, 101 * time.Second, "alice", 1,
		},
		"after the grace its header stays": {
			func(c *client) string {
				c.lasting("1000:admin", "admin", 200000)
				c.lasting("1000:x", "alice", 100)
				c.must(protocol.OpSetDefaultCache, name("1000:x"))
				return "1000:x"
			}, day + 101*time.Second, "alice", 0,
		},
		"a cron job's cache is no successor": {
			func(c *client) string {
				c.lasting("1000:cron", "alice", 200000)
				c.lasting("1000", "alice", 100)
				c.must(protocol.OpSetDefaultCache, name("1000"))
				return "1000"
			}, day + 101*time.Second, "alice", 0,
		},
		"a named default has no successor": {
			func(c *client) string {
				c.lasting("1000:mine", "alice", 100)
				c.must(protocol.OpSetDefaultCache, name("1000:mine"))
				c.lasting(c.generated(), "alice", 200000)
				return "1000:mine"
			}, 101 * time.Second, "alice", 1,
		},
		"another principal's login is no successor": {
			func(c *client) string {
				c.lasting("1000", "alice", 100)
				c.lasting(c.generated(), "bob", 200000)
				return "1000"
			}, day + 101*time.Second, "alice", 0,
		},
		"a login of the same principal takes over, the longest": {
			func(c *client) string {
				n := c.generated()
				c.lasting(n, "alice", 100)
				c.must(protocol.OpSetDefaultCache, name(n))
				c.lasting(c.generated(), "bob", 200000)
				c.lasting(c.generated(), "alice", 500)
				successor := c.generated()
				c.lasting(successor, "alice", 600)
				return successor
			}, 101 * time.Second, "alice", 1,
		},
	}
	for what, test := range tests {
		for _, how := range []string{"the interval", "a full collection", "a limit on all"} {
			t.Run(what+" after "+how, func(t *testing.T) {
				r := newRig(t, nil)
				c := r.client(1000)
				want := test.given(c)
				c.lasting("1000:old", "eve", 50)
				r.pass(test.after)
				switch how {
				case "the interval":
					r.server.purgeExpired(context.Background())
				case "a full collection":
					r.server.Reload(snapshot(t, conf{"max_uid_ccaches": strconv.Itoa(len(c.caches()))}))
					c.must(protocol.OpInitialize, name("1000:more"), princ("eve@"+realm))
				default:
					r.server.purgeEveryone(context.Background())
				}
				if got := c.defaultName(); got != want {
					t.Fatalf("the default is %q, not %q", got, want)
				}
				if got := c.must(protocol.OpGetPrincipal, name(want)); string(got) != string(princ(test.who+"@"+realm)) {
					t.Errorf("its principal is %q", got)
				}
				if got := len(c.servers(want)); how == "the interval" && got != test.left {
					t.Errorf("it has %d credentials, want %d", got, test.left)
				}
				r.checkStore(1000)
				r.start(nil)
				if got := r.client(1000).defaultName(); got != want {
					t.Errorf("after a restart the default is %q, not %q", got, want)
				}
			})
		}
	}
}

func TestAnEmptiedDefaultIsACacheLikeAnyOther(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.lasting("1000", "alice", 100)
	c.lasting("1000:admin", "admin", 900000)
	r.pass(48 * time.Hour)
	r.server.purgeExpired(context.Background())
	r.start(nil)
	c = r.client(1000)
	equal(t, "credentials", c.servers("1000"), nil)
	state := func() *state { return r.server.users.of(1000).published.Load() }
	if next := state().nextPurge(r.clock.Load(), 0); next < r.clock.Load() {
		t.Errorf("an emptied default is to be purged again")
	}
	t.Run("a ticket brings it back to life", func(t *testing.T) {
		c.t = t
		c.must(protocol.OpStore, name("1000"), raw(ticket("alice", tgs, 500000)))
		r.server.purgeExpired(context.Background())
		equal(t, "credentials", c.servers("1000"), []string{tgs})
		r.checkStore(1000)
	})
	c.t = t
	r.pass(30 * 24 * time.Hour)
	r.server.purgeExpired(context.Background())
	equal(t, "caches", c.caches(), []string{"1000"})
	t.Run("it goes when it is the default no more", func(t *testing.T) {
		c.t = t
		c.login("1000:b", "bob")
		c.must(protocol.OpSetDefaultCache, name("1000:b"))
		r.server.purgeExpired(context.Background())
		equal(t, "caches", c.caches(), []string{"1000:b"})
	})
}

func TestTheBareNameIsTheDefaultWhereNoneWasChosen(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000:a", "alice")
	if got := c.defaultName(); got != "1000:a" {
		t.Fatalf("with one cache the default is %q", got)
	}
	c.login("1000", "bob")
	if got := c.defaultName(); got != "1000" {
		t.Errorf("the default is %q, not the bare name", got)
	}
	c.must(protocol.OpSetDefaultCache, name("1000:a"))
	c.must(protocol.OpDestroy, name("1000"))
	c.login("1000", "bob")
	if got := c.defaultName(); got != "1000:a" {
		t.Errorf("the bare name has taken the default from the chosen %q", got)
	}
}

func TestABrokenOffLoginDoesNotStayInTheWay(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "4"})
	c := r.client(1000)
	c.login("1000:a", "alice")
	c.login("1000:b", "bob")
	c.must(protocol.OpSetDefaultCache, name("1000:b"))
	for range 2 { // the second one comes while the first is chosen
		begun := c.generated()
		c.must(protocol.OpSetDefaultCache, name(begun))
		for _, restarted := range []bool{false, true} {
			if restarted {
				r.start(conf{"max_uid_ccaches": "4"})
				c = r.client(1000)
			}
			if got := c.defaultName(); got != "1000:b" {
				t.Fatalf("after a login has begun the default is %q", got)
			}
		}
	}
	c.login("1000:c", "carol") // for whom the broken-off ones have to go
	if got := c.defaultName(); got != "1000:b" {
		t.Errorf("with the broken-off logins gone the default is %q", got)
	}
	equal(t, "caches", c.caches(), []string{"1000:a", "1000:b", "1000:c"})
	n := c.generated()
	c.must(protocol.OpSetDefaultCache, name(n))
	c.must(protocol.OpInitialize, name(n), princ("dave@"+realm))
	if got := c.defaultName(); got != n {
		t.Errorf("a login that goes on is not the default, but %q is", got)
	}
	c.must(protocol.OpDestroy, name(n))
	if got := c.defaultName(); got != "1000:a" {
		t.Errorf("with the chosen cache destroyed the default is %q", got)
	}
	r.checkStore(1000)
}

func TestAPurgeRemovesWhatALoginHasAbandoned(t *testing.T) {
	for what, evicted := range map[string]bool{"in memory": false, "not in memory": true} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.client(1000)
			c.login("1000:a", "alice")
			c.must(protocol.OpSetDefaultCache, name("1000:a"))
			c.must(protocol.OpSetDefaultCache, name("1000:begun"))
			r.tick() // a login may be under way
			if evicted {
				r.evictAll()
			}
			equal(t, "caches", r.cachesOf(1000), []string{"1000:a", "1000:begun"})
			c.must(protocol.OpSetDefaultCache, name("1000:now"))
			if evicted {
				r.evictAll()
			}
			r.tick()
			equal(t, "caches", r.cachesOf(1000), []string{"1000:a", "1000:now"})
			if got := c.defaultName(); got != "1000:a" {
				t.Errorf("the default is %q", got)
			}
			c.must(protocol.OpInitialize, name("1000:now"), princ("bob@"+realm))
			r.tick()
			if got := c.defaultName(); got != "1000:now" {
				t.Errorf("the default is %q", got)
			}
			r.checkStore(1000)
		})
	}
}

// evictAll drops all collections from memory.
func (r *rig) evictAll() {
	for range idleChecks + 1 {
		r.server.evictIdle()
	}
}

// cachesOf returns the names of a user's caches in the store.
func (r *rig) cachesOf(uid uint32) (names []string) {
	s, _ := decodeState(r.store.records(uid))
	for _, c := range s.caches {
		names = append(names, c.name)
	}
	return names
}

func TestARefusedTicketDoesNotMoveTheDefault(t *testing.T) {
	r := newRig(t, conf{"max_ccache_size": "1"})
	c := r.client(1000)
	c.login("1000:a", "alice")
	c.login("1000:b", "bob")
	c.must(protocol.OpSetDefaultCache, name("1000:b"))
	c.must(protocol.OpInitialize, name("1000:b"), princ("bob@"+realm))
	cred := ticket("bob", tgs, 100)
	cred.Ticket = make([]byte, 2000)
	c.refused(protocol.Quota, protocol.OpStore, name("1000:b"), raw(cred))
	if got := c.defaultName(); got != "1000:b" {
		t.Errorf("the default is %q", got)
	}
}

// 64 logins in a morning do not keep out the 65th (SSSD issue 7105).
func TestALoginTakesTheRoomOfAnEarlierOne(t *testing.T) {
	for what, set := range map[string]conf{
		"of the user":  {"max_uid_ccaches": "4"},
		"of all users": {"max_ccaches": "4"},
	} {
		for order, steps := range map[string][]protocol.Op{
			"the switch last":  {protocol.OpInitialize, protocol.OpStore, protocol.OpSetDefaultCache},
			"the switch first": {protocol.OpSetDefaultCache, protocol.OpInitialize, protocol.OpStore},
			"no switch":        {protocol.OpInitialize, protocol.OpStore},
		} {
			t.Run(what+", "+order, func(t *testing.T) {
				r := newRig(t, set)
				c := r.client(1000)
				c.login("1000:mine", "alice")
				c.login("1000:bob", "bob")
				var last string
				for range 10 {
					last = c.generated()
					for _, step := range steps {
						params := map[protocol.Op][]byte{protocol.OpInitialize: princ("alice@" + realm), protocol.OpStore: tgt("alice")}[step]
						c.must(step, name(last), params)
					}
				}
				caches := c.caches()
				if len(caches) != 4 || caches[0] != "1000:mine" || caches[1] != "1000:bob" || caches[3] != last {
					t.Errorf("caches are %v", caches)
				}
				want := last
				if order == "no switch" {
					want = "1000:mine"
				}
				if got := c.defaultName(); got != want {
					t.Errorf("the default is %q, not %q", got, want)
				}
				c.refused(protocol.Quota, protocol.OpInitialize, name("1000:carol"), princ("carol@"+realm))
				if !strings.Contains(r.logged.String(), "max_") {
					t.Error("the log does not name the limit")
				}
				r.checkStore(1000)
			})
		}
	}
}

func TestTheDefaultIsTheLastThatYields(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "2"})
	c := r.client(1000)
	first := c.generated()
	c.login(first, "alice")
	c.must(protocol.OpSetDefaultCache, name(first))
	for range 3 {
		n := c.generated()
		c.login(n, "alice")
		equal(t, "caches", c.caches(), []string{first, n})
	}
}

func TestTheOnlyCacheYieldsToALoginOfItsPrincipal(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "1"})
	c := r.client(1000)
	for range 3 {
		n := c.generated()
		c.login(n, "alice")
		equal(t, "caches", c.caches(), []string{n})
	}
	c.refused(protocol.Quota, protocol.OpInitialize, name("1000:b"), princ("bob@"+realm))
	r.pass(11 * time.Hour)
	c.login("1000:b", "bob") // in the place of the expired default
	equal(t, "caches", c.caches(), []string{"1000:b"})
	r.checkStore(1000)
}
