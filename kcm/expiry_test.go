package kcm

import (
	"context"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// stock fills a cache with tickets for servers that last as many seconds.
func (c *client) stock(cacheName, who string, lifetimes map[string]int) {
	c.t.Helper()
	c.must(protocol.OpInitialize, name(cacheName), princ(who+"@"+realm))
	for _, server := range sortedKeys(lifetimes) {
		c.must(protocol.OpStore, name(cacheName), raw(ticket(who, server+"@"+realm, lifetimes[server])))
	}
}

const krbtgt = "krbtgt/" + realm

func TestPurge(t *testing.T) {
	tests := map[string]struct {
		set   conf
		given func(*client)
		after time.Duration
		want  map[string]int // credentials by cache
	}{
		"nothing has expired": {
			given: func(c *client) { c.stock("1000", "a", map[string]int{krbtgt: 100, "host/a": 100}) },
			after: 100 * time.Second, want: map[string]int{"1000": 2},
		},
		"a service ticket has expired": {
			given: func(c *client) { c.stock("1000", "a", map[string]int{krbtgt: 1000, "host/a": 100, "host/b": 1000}) },
			after: 101 * time.Second, want: map[string]int{"1000": 2},
		},
		"a cross-realm ticket is a service ticket": {
			given: func(c *client) { c.stock("1000", "a", map[string]int{krbtgt: 1000, "krbtgt/OTHER": 100}) },
			after: 101 * time.Second, want: map[string]int{"1000": 1},
		},
		"a configuration entry never expires": {
			given: func(c *client) {
				c.stock("1000", "a", map[string]int{krbtgt: 1000})
				c.must(protocol.OpStore, name("1000"), config("a", "x", "y"))
			},
			after: 101 * time.Second, want: map[string]int{"1000": 2},
		},
		"the TGT has expired but the grace has not": {
			given: func(c *client) { c.stock("1000", "a", map[string]int{krbtgt: 100, "host/a": 100}) },
			after: 24 * time.Hour, want: map[string]int{"1000": 1},
		},
		"the grace is over": {
			given: func(c *client) {
				c.stock("1000", "a", map[string]int{krbtgt: 100, "host/a": 100})
				c.stock("1000:b", "b", map[string]int{krbtgt: 100})
			},
			after: 24*time.Hour + 101*time.Second, want: map[string]int{"1000": 0},
		},
		"there is no grace": {
			set: conf{"purge_expired_grace": "0"},
			given: func(c *client) {
				c.stock("1000:a", "a", map[string]int{krbtgt: 100})
				c.stock("1000:b", "b", map[string]int{krbtgt: 100})
			},
			after: 101 * time.Second, want: map[string]int{"1000:a": 0},
		},
		"a named cache stays for the grace beside a valid one of its principal": {
			given: func(c *client) {
				c.stock("1000:new", "a", map[string]int{krbtgt: 1000, "host/a": 100})
				c.stock("1000:old", "a", map[string]int{krbtgt: 100})
				c.stock("1000", "a", map[string]int{krbtgt: 100})
				c.must(protocol.OpSetDefaultCache, name("1000:new"))
			},
			after: 101 * time.Second, want: map[string]int{"1000:new": 1, "1000:old": 1, "1000": 1},
		},
		"an empty cache of the same principal does not": {
			given: func(c *client) {
				c.stock("1000:old", "a", map[string]int{krbtgt: 100})
				c.stock("1000:new", "a", nil)
			},
			after: 101 * time.Second, want: map[string]int{"1000:old": 1, "1000:new": 0},
		},
		"without a TGT the longest service ticket counts": {
			given: func(c *client) { c.stock("1000", "a", map[string]int{"host/a": 100, "host/b": 200, "host/c": 150}) },
			after: 24*time.Hour + 190*time.Second, want: map[string]int{"1000": 1},
		},
		"a ticket without an end does not expire": {
			given: func(c *client) { c.stock("1000", "a", map[string]int{krbtgt: -startOfTime}) },
			after: 1000 * time.Hour, want: map[string]int{"1000": 1},
		},
		"the KDC's clock counts": {
			given: func(c *client) {
				c.stock("1000", "a", map[string]int{krbtgt: 1000, "host/a": 100})
				c.must(protocol.OpSetKDCOffset, name("1000"), u32(50))
			},
			after: 51 * time.Second, want: map[string]int{"1000": 1},
		},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, test.set)
			c := r.client(1000)
			test.given(c)
			r.pass(test.after)
			r.server.purgeExpired(context.Background())
			names := c.caches()
			if len(names) != len(test.want) {
				t.Errorf("caches left: %v, want %v", names, test.want)
			}
			for _, n := range names {
				if got := len(c.servers(n)); got != test.want[n] {
					t.Errorf("%s has %d credentials, want %d", n, got, test.want[n])
				}
			}
			r.checkStore(1000)
			if next := r.server.users.of(1000).published.Load().nextPurge(r.clock.Load(), r.server.settings.Load().purgeGrace); next < r.clock.Load() {
				t.Errorf("right after a purge the next is said to be due %d s ago", r.clock.Load()-next)
			}
		})
	}
}

func TestPurgeReachesUsersThatAreNotInMemory(t *testing.T) {
	r := newRig(t, nil)
	r.client(1000).stock("1000", "a", map[string]int{krbtgt: 1000, "host/a": 100})
	r.client(1001).stock("1001", "b", map[string]int{krbtgt: 1000, "host/a": 500})
	r.start(nil)
	r.pass(101 * time.Second)
	r.server.purgeExpired(context.Background())
	if s, _ := decodeState(r.store.records(1000)); len(s.caches[0].entries) != 1 {
		t.Errorf("%d credentials are left", len(s.caches[0].entries))
	}
	for _, c := range r.server.users.all() {
		if c.published.Load() != nil {
			t.Errorf("uid %d stays in memory", c.uid)
		}
	}
	r.store.set("load", errDisk)
	r.logged.take()
	r.server.purgeExpired(context.Background())
	if got := r.logged.take(); got != "" {
		t.Errorf("users of whom nothing has expired are loaded again: %s", got)
	}
	r.pass(500 * time.Second)
	r.server.purgeExpired(context.Background())
	if got := r.logged.take(); strings.Count(got, "expired credentials stay") != 1 || !strings.Contains(got, "1001") {
		t.Errorf("log of a purge that fails for one user: %s", got)
	}
}

func TestTheProcessStaysForAPurgeThatIsDue(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	if !r.server.MayExit() {
		t.Error("a server without users may not exit")
	}
	c.stock("1000", "a", map[string]int{krbtgt: 36000, "host/a": 36000})
	if !r.server.MayExit() {
		t.Error("may not exit while everything is valid for long")
	}
	c.must(protocol.OpStore, name("1000"), raw(ticket("a", "host/b@"+realm, 300)))
	if r.server.MayExit() {
		t.Error("may exit though the next purge will find something")
	}
	for range idleChecks + 1 {
		r.server.evictIdle()
	}
	if r.server.users.of(1000).published.Load() != nil {
		t.Fatal("an idle collection stays in memory")
	}
	if r.server.MayExit() {
		t.Error("may exit though an evicted user has something to purge")
	}
	r.pass(301 * time.Second)
	r.server.purgeExpired(context.Background())
	if !r.server.MayExit() {
		t.Error("may not exit after the purge")
	}
}

func TestWithoutPurgeTheProcessMayExit(t *testing.T) {
	r := newRig(t, conf{"purge_expired_credentials_interval": "0"})
	r.client(1000).stock("1000", "a", map[string]int{krbtgt: 10})
	r.pass(time.Hour)
	if !r.server.MayExit() {
		t.Error("may not exit")
	}
	r = newRig(t, conf{"ccache_storage": "memory"})
	if r.server.MayExit() {
		t.Error("may exit with the only copy of everything")
	}
}

func TestTheKeeperFollowsItsInterval(t *testing.T) {
	r := newRig(t, conf{"purge_expired_credentials_interval": "0"})
	c := r.client(1000)
	c.stock("1000", "a", map[string]int{krbtgt: 1000, "host/a": 10})
	r.pass(20 * time.Second)
	<-r.signals.written // what stock has made
	r.server.Reload(snapshot(t, conf{"purge_expired_credentials_interval": "1"}))
	select {
	case <-r.signals.written:
		equal(t, "credentials", c.servers("1000"), []string{tgs})
	case <-time.After(10 * time.Second):
		t.Error("no purge within ten seconds of an interval of one")
	}
}
