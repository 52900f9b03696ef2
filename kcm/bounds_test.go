package kcm

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kcmclient "gosssd/kcm/client"
	"gosssd/kcm/protocol"
	"gosssd/responder"
)

// heap is what is reachable.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first found unreachable, the second has purgedAtSecond
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// 40 clients that were silent after a request of 9 MiB each held 750 MiB.
func TestASilentClientHoldsNothingOfItsLargestRequest(t *testing.T) {
	r := newRig(t, nil)
	const clients, largest, bound = 10, 2 << 20, 64 << 10
	all := make([]*client, clients)
	for i := range all {
		all[i] = r.client(1000)
		all[i].must(protocol.OpNoop)
	}
	long := name(strings.Repeat("n", largest))
	before := heap()
	for _, c := range all {
		c.refused(protocol.BadName, protocol.OpResolve, long)
	}
	if held := heap() - before; held > clients*bound {
		t.Errorf("%d silent clients hold %d KiB", clients, held>>10)
	}
	runtime.KeepAlive(all)
}

func TestASilentClientHoldsNothingOfItsLargestReply(t *testing.T) {
	r := newRig(t, nil)
	const clients, bound = 8, 64 << 10
	all := make([]*client, clients)
	for i := range all {
		all[i] = r.client(1000)
		all[i].must(protocol.OpNoop)
	}
	before := heap()
	for i, c := range all {
		n := name(fmt.Sprintf("1000:%d", i))
		c.must(protocol.OpReplace, n, u32(0), princ("alice@"+realm), largeList(1<<20))
		c.must(protocol.OpGetCredList, n)
		c.forget()
		r.client(1000).must(protocol.OpDestroy, n)
	}
	if held := heap() - before; held > clients*bound {
		t.Errorf("%d silent clients hold %d KiB of caches that are gone", clients, held>>10)
	}
	runtime.KeepAlive(all)
}

// forget drops what the client has read, and keeps its connection.
func (c *client) forget() {
	c.Client = kcmclient.Over(func() (io.ReadWriteCloser, error) { return c.conn, nil }, 0)
	_ = c.Connect()
}

// largeList is a list of tickets of some bytes altogether.
func largeList(size int) []byte {
	var list [][]byte
	for i := range size >> 18 {
		cred := ticket("alice", fmt.Sprintf("host/%d@%s", i, realm), 1000)
		cred.Ticket = make([]byte, 1<<18-200)
		list = append(list, raw(cred))
	}
	return protocol.AppendCredentialList(nil, list)
}

// attackers are connections that are closed together, before the server waits
// for any.
type attackers struct {
	r   *rig
	all []*client
}

func (a *attackers) more(uid uint32) *client {
	c := a.r.client(uid)
	a.all = append(a.all, c)
	return c
}

// send writes as much as the server takes at once.
func (a *attackers) send(c *client, b []byte) {
	_ = c.conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
	_, _ = c.conn.Write(b)
}

func (a *attackers) close() {
	for _, c := range a.all {
		c.conn.Close()
	}
}

// honest lets a user log in, store and list, and fails if anything fails.
func honest(t *testing.T, r *rig, uid uint32, rounds int) {
	t.Helper()
	c := r.client(uid)
	n := fmt.Sprint(uid)
	cred := ticket("alice", "host/with.a.large.pac@"+realm, 1000)
	cred.Ticket = make([]byte, 20<<10)
	for range rounds {
		c.login(n, "alice")
		c.must(protocol.OpStore, name(n), raw(cred))
		equal(t, "credentials", c.servers(n), []string{tgs, "host/with.a.large.pac@" + realm})
	}
}

func TestHalfSentFramesAreBoundedAndHarmNobodyElse(t *testing.T) {
	r := newRig(t, nil)
	const total, share = 16 << 20, 6 << 20
	r.server.memory = responder.NewBudget(total, share)
	mob := &attackers{r: r}
	defer mob.close()
	frame := request(protocol.OpResolve, name(strings.Repeat("n", 700<<10)))
	before := heap()
	for i := range 60 {
		mob.send(mob.more(uint32(2000+i%4)), frame[:len(frame)-10])
	}
	honest(t, r, 1000, 100)
	if held := heap() - before; held > total {
		t.Errorf("60 half-sent frames hold %d KiB", held>>10)
	}
	if peak := r.server.memory.Peak(); peak > total || peak <= share {
		t.Errorf("peak %d of %d bytes", peak, total)
	}
	t.Run("one of their own waits, and is served", func(*testing.T) {
		var waiting sync.WaitGroup
		late := r.client(2000)
		waiting.Go(func() { late.refused(protocol.BadName, protocol.OpResolve, name(strings.Repeat("n", 100<<10))) })
		mob.close()
		waiting.Wait()
	})
}

func TestRepliesThatAreNotReadAreBoundedAndHarmNobodyElse(t *testing.T) {
	r := newRig(t, nil)
	const total, share, mobs = 16 << 20, 6 << 20, 4
	r.server.memory = responder.NewBudget(total, share)
	before := heap()
	for i := range uint32(mobs) {
		n := fmt.Sprint(2000 + i)
		r.client(2000+i).must(protocol.OpReplace, name(n), u32(0), princ("alice@"+realm), largeList(2<<20))
	}
	r.server.memory.Peak()
	mob := &attackers{r: r}
	defer mob.close()
	for i := range 40 {
		uid := uint32(2000 + i%mobs)
		mob.send(mob.more(uid), bytes.Repeat(request(protocol.OpGetCredList, name(fmt.Sprint(uid))), 4))
	}
	honest(t, r, 1000, 100)
	if held := heap() - before; held > total+2*mobs<<20 {
		t.Errorf("replies that are not read hold %d KiB besides the caches", held>>10-2*mobs<<10)
	}
	if peak := r.server.memory.Peak(); peak > total || peak <= share {
		t.Errorf("peak %d of %d bytes", peak, total)
	}
}

func TestTheQuotaOfAUser(t *testing.T) {
	const quota = 64 << 10
	r := newRig(t, conf{"max_uid_ccache_size": "64"})
	c := r.client(1000)
	c.login("1000:a", "alice")
	c.login("1000:b", "bob")
	large := func(i int) []byte {
		cred := ticket("alice", fmt.Sprintf("host/%d@%s", i, realm), 60)
		cred.Ticket = make([]byte, 4<<10)
		return raw(cred)
	}
	stored := 0
	for c.call(protocol.OpStore, name([]string{"1000:a", "1000:b"}[stored%2]), large(stored)).Inner == 0 {
		stored++
	}
	if weight := r.server.users.of(1000).published.Load().weight(); weight > quota || weight < quota-6<<10 {
		t.Errorf("%d tickets of 4 KiB, %d bytes", stored, weight)
	}
	c.refused(protocol.Quota, protocol.OpStore, name("1000:b"), large(99))
	r.client(1001).login("1001", "bob")
	r.pass(61 * time.Second)
	c.must(protocol.OpStore, name("1000:b"), service("alice", "host/after")) // in the place of what has expired
	c.must(protocol.OpStore, name("1000:b"), large(100))

	r.server.Reload(snapshot(t, conf{"max_uid_ccache_size": "1"}))
	c.refused(protocol.Quota, protocol.OpStore, name("1000:a"), service("alice", "host/still.after"))
	c.login("1000:b", "bob") // less than before
	r.checkStore(1000)
}

func TestTheNumberOfCredentialsIsBounded(t *testing.T) {
	r := newRig(t, conf{"max_ccache_credentials": "3"})
	c := r.client(1000)
	list := func(n int) []byte {
		var list [][]byte
		for i := range n {
			list = append(list, raw(ticket("alice", fmt.Sprintf("host/%d@%s", i, realm), 60+i)))
		}
		return protocol.AppendCredentialList(nil, list)
	}
	c.must(protocol.OpReplace, name("1000"), u32(0), princ("alice@"+realm), list(3))
	c.refused(protocol.Quota, protocol.OpReplace, name("1000"), u32(0), princ("alice@"+realm), list(4))
	c.refused(protocol.Quota, protocol.OpReplace, name("1000"), u32(0), princ("alice@"+realm), u32(1<<31)) // before any is read
	c.refused(protocol.Quota, protocol.OpStore, name("1000"), service("alice", "host/4"))
	c.must(protocol.OpStore, name("1000"), raw(ticket("alice", "host/1@"+realm, 1000)))
	r.pass(61 * time.Second)
	c.must(protocol.OpStore, name("1000"), service("alice", "host/4"))
	if got := c.servers("1000"); len(got) != 3 || !slices.Contains(got, "host/4@"+realm) {
		t.Errorf("credentials %v", got)
	}
	r.checkStore(1000)
}

func TestOneUnreadableUserIsNotTheSystem(t *testing.T) {
	r := newRig(t, nil)
	for uid := uint32(1000); uid < 1003; uid++ {
		r.client(uid).login(fmt.Sprint(uid), "alice")
	}
	r.store.unreadable = 1001
	r.start(conf{"max_ccaches": "4"})
	c := r.client(1005)
	c.login("1005:a", "alice")
	c.login("1005:b", "bob") // two were counted, and two are new
	c.refused(protocol.Quota, protocol.OpReplace, name("1005:c"), u32(0), princ("carol@"+realm), u32(0))
	if got := r.logged.String(); strings.Count(got, "not counted for max_ccaches: uid=1001") != 1 {
		t.Errorf("log: %s", got)
	}
	r.store.unreadable = 0
	r.client(1001).must(protocol.OpGetCredList, name("1001"))
	if n := &r.server.users.census; n.total != 5 || len(n.unread) != 0 {
		t.Errorf("the census counts %d caches, without %v", n.total, n.unread)
	}
}

func TestTheLargestCollectionsLeaveMemoryFirst(t *testing.T) {
	r := newRig(t, nil)
	small, large := r.client(1000), r.client(1001)
	small.login("1000", "alice")
	large.must(protocol.OpReplace, name("1001"), u32(0), princ("bob@"+realm), largeList(2<<20))
	r.server.makeSmall(1 << 20)
	if r.server.users.of(1001).published.Load() != nil || r.server.users.of(1000).published.Load() == nil {
		t.Error("the largest is still in memory, or the small one is not")
	}
	if got := r.server.users.resident.Load(); got > 1<<20 || got != r.server.users.of(1000).published.Load().weight() {
		t.Errorf("%d bytes are counted as in memory", got)
	}
	if got := len(large.servers("1001")); got != 8 {
		t.Errorf("%d credentials", got)
	}
	r.store.volatile = true
	r.server.makeSmall(1 << 20)
	if r.server.users.of(1001).published.Load() == nil {
		t.Error("the only copy has left memory")
	}
}

func TestWhereMemoryIsAllThereIsTheModestAreServed(t *testing.T) {
	r := newRig(t, conf{"ccache_storage": "memory"})
	r.server.users.resident.Store(residentLimit)
	c := r.client(1000)
	c.login("1000", "alice")
	c.refused(protocol.Quota, protocol.OpReplace, name("1000"), u32(0), princ("alice@"+realm), largeList(2<<20))
	equal(t, "credentials", c.servers("1000"), []string{tgs})
}

func TestAStoreTakesItsRequestOver(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	junk := make([]byte, 1<<20)
	c.must(protocol.OpStore, name("1000"), service("alice", "host/a"), junk)
	cred := r.server.users.of(1000).published.Load().caches[0].entries[1]
	if cap(cred.record) > 2*len(cred.record) {
		t.Errorf("a credential of %d bytes keeps %d", len(cred.record), cap(cred.record))
	}
}

// released is what the runtime has given back to the system.
func released() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapReleased)
}

func TestMemoryIsGivenBackAfterwards(t *testing.T) {
	r := newRig(t, nil)
	r.server.stopMaintenance()
	c := r.client(1000)
	for _, what := range []struct {
		name string
		do   func()
	}{
		{"a large request", func() { c.refused(protocol.BadName, protocol.OpResolve, name(strings.Repeat("n", 4<<20))) }},
		{"caches that were destroyed", func() {
			for i := range 4 {
				c.must(protocol.OpReplace, name(fmt.Sprint("1000:", i)), u32(0), princ("alice@"+realm), largeList(3<<20))
			}
			r.server.giveBack(false)
			r.server.giveBack(false)
			for i := range 4 {
				c.must(protocol.OpDestroy, name(fmt.Sprint("1000:", i)))
			}
		}},
		{"stacks and buffers of many connections", func() {
			r.server.giveBack(true)
			var all [][]byte
			for range 4000 {
				all = append(all, make([]byte, 8<<10))
			}
			clear(all)
		}},
	} {
		what.do()
		c.forget()
		before := released()
		r.server.giveBack(false)
		if got := released() - before; got < 4<<20 {
			t.Errorf("after %s %d KiB are given back", what.name, got>>10)
		}
	}
}

// TestLargeCachesLeaveMemorySoonerThanOthers counts the checks that caches stay
// after their user's last request.
func TestLargeCachesLeaveMemorySoonerThanOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for uid, size := range map[uint32]int{1000: 100, 1001: 2 << 20} {
		r.client(uid).must(protocol.OpReplace, name(fmt.Sprint(uid)), u32(0), princ("alice@"+realm), largeList(size))
	}
	stays := map[uint32]int{}
	for range idleChecks + 2 {
		for _, uid := range []uint32{1000, 1001} {
			if r.server.users.of(uid).published.Load() != nil {
				stays[uid]++
			}
		}
		r.server.evictIdle()
	}
	if want := (map[uint32]int{1000: idleChecks + 1, 1001: idleChecksOfLarge + 1}); !maps.Equal(stays, want) {
		t.Errorf("checks in memory: %v, want %v", stays, want)
	}
}
