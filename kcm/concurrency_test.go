package kcm

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"gosssd/kcm/protocol"
)

// together runs n functions at once and waits for all.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

func TestParallelLogins(t *testing.T) {
	r := newRig(t, nil)
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = r.client(1000)
	}
	together(len(clients), func(i int) {
		c, who := clients[i], fmt.Sprintf("user%d", i)
		cacheName := strings.TrimSuffix(string(c.must(protocol.OpGenNew)), "\x00")
		if i%2 == 0 {
			c.login(cacheName, who)
		} else {
			c.must(protocol.OpInitialize, name(cacheName), princ(who+"@"+realm))
			c.must(protocol.OpStore, name(cacheName), tgt(who))
		}
		for s := range 10 {
			c.must(protocol.OpStore, name(cacheName), service(who, fmt.Sprintf("host/%d", s)))
		}
		c.must(protocol.OpSetDefaultCache, name(cacheName))
	})
	names := clients[0].caches()
	if len(names) != 20 {
		t.Fatalf("20 logins made %d caches", len(names))
	}
	for _, n := range names {
		if got := len(clients[0].servers(n)); got != 11 {
			t.Errorf("%s has %d credentials", n, got)
		}
	}
	r.checkStore(1000)
}

func TestParallelListingsDuringChanges(t *testing.T) {
	r := newRig(t, nil)
	writer := r.client(1000)
	writer.login("1000", "alice")
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				writer.login("1000", "alice")
				writer.must(protocol.OpStore, name("1000"), service("alice", fmt.Sprintf("host/%d", i%50)))
			}
		}
	})
	readers := make([]*client, 200)
	for i := range readers {
		readers[i] = r.client(1000)
	}
	together(len(readers), func(i int) {
		c := readers[i]
		for range 5 {
			for _, n := range c.caches() {
				if servers := c.servers(n); len(servers) == 0 || servers[0] != tgs {
					t.Errorf("a listing saw %v: half a cache", servers)
				}
			}
		}
	})
	close(stop)
	writing.Wait()
	r.checkStore(1000)
}

func TestTwoUsersHammer(t *testing.T) {
	r := newRig(t, conf{"max_ccaches": "20", "max_uid_ccaches": "10"})
	clients := make([]*client, 8)
	for i := range clients {
		clients[i] = r.client(uint32(1000 + i%2))
	}
	together(len(clients), func(i int) {
		c := clients[i]
		own := fmt.Sprintf("%d:%d", c.uid, i)
		for range 50 {
			c.login(own, "alice")
			c.must(protocol.OpStore, name(own), service("alice", "host/a"))
			c.must(protocol.OpMoveCache, name(own), name(own+"x"))
			c.must(protocol.OpDestroy, name(own+"x"))
		}
		c.login(own, "alice")
	})
	for _, uid := range []uint32{1000, 1001} {
		if got := len(r.client(uid).caches()); got != 4 {
			t.Errorf("uid %d has %d caches, want 4", uid, got)
		}
		r.checkStore(uid)
	}
	if n := &r.server.users.census; n.total != 8 {
		t.Errorf("the census counts %d caches", n.total)
	}
}

func TestReadersDoNotWaitForADisk(t *testing.T) {
	r := newRig(t, nil)
	writer, reader, other := r.client(1000), r.client(1000), r.client(1001)
	writer.login("1000", "alice")
	other.login("1001", "bob")
	release := r.store.block()
	before := r.store.entered.Load()
	var writing sync.WaitGroup
	writing.Go(func() { writer.must(protocol.OpStore, name("1000"), service("alice", "host/a")) })
	for r.store.entered.Load() == before {
		reader.must(protocol.OpNoop)
	}
	equal(t, "credentials while a change is being written", reader.servers("1000"), []string{tgs})
	reader.must(protocol.OpGenNew)
	equal(t, "credentials of another", other.servers("1001"), []string{tgs})
	release()
	writing.Wait()
	equal(t, "credentials afterwards", reader.servers("1000"), []string{tgs, "host/a@" + realm})
}

// pileUp lets n changes wait behind one that the disk holds up, and returns
// when all are done.
func (r *rig) pileUp(n int, change func(i int, c *client)) {
	first, bystander := r.client(1000), r.client(1001)
	release := r.store.block()
	before := r.store.entered.Load()
	var all sync.WaitGroup
	all.Go(func() { first.must(protocol.OpSetKDCOffset, name("1000"), u32(uint32(before)+1)) })
	for r.store.entered.Load() == before {
		bystander.must(protocol.OpNoop)
	}
	c := r.server.users.of(1000)
	for i := range n {
		client := r.client(1000)
		all.Go(func() { change(i, client) })
	}
	for queued := 0; queued < n; {
		bystander.must(protocol.OpNoop)
		c.queue.Lock()
		queued = len(c.waiting)
		c.queue.Unlock()
	}
	release()
	all.Wait()
}

func TestChangesThatWaitAreCommittedTogether(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	before := len(r.store.commits)
	r.pileUp(8, func(i int, c *client) {
		if i%4 == 3 {
			c.refused(protocol.NotFound, protocol.OpRemoveCred, name("1000"), u32(0), credtagOf(service("x", "y")))
		} else {
			c.must(protocol.OpStore, name("1000"), service("alice", fmt.Sprintf("host/%d", i)))
		}
	})
	equal(t, "records per commit", r.store.commits[before:], []int{1, 6})
	if got := len(c.servers("1000")); got != 7 {
		t.Errorf("%d credentials", got)
	}
	r.checkStore(1000)
}

func TestOneChangeTooLargeDoesNotCostTheOthers(t *testing.T) {
	r := newRig(t, nil)
	r.client(1000).login("1000", "alice")
	r.store.largest = 1000
	r.pileUp(6, func(i int, c *client) {
		cred := ticket("alice", fmt.Sprintf("host/%d@%s", i, realm), 100)
		if i == 2 {
			cred.Ticket = make([]byte, 2000)
			c.refused(protocol.Quota, protocol.OpStore, name("1000"), raw(cred))
			return
		}
		c.must(protocol.OpStore, name("1000"), raw(cred))
	})
	if got := len(r.client(1000).servers("1000")); got != 6 {
		t.Errorf("%d credentials", got)
	}
	r.checkStore(1000)
}
