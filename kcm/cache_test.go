package kcm

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"gosssd/kcm/protocol"
)

func TestFillingAtOnceIsStoringOneByOne(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		var list [][]byte
		for range random.IntN(40) {
			cred := ticket("alice", fmt.Sprintf("host/%d@%s", random.IntN(10), realm), 100)
			cred.Ticket = make([]byte, random.IntN(50))
			cred.IsSkey = uint8(random.IntN(2))
			list = append(list, raw(cred))
		}
		empty := &cache{id: protocol.UUID{1}, firstCred: 7, nextCred: 7, size: 11}
		slow := empty
		wire := protocol.AppendCredentialList(nil, list)
		first, second := protocol.NewReader(wire), protocol.NewReader(wire)
		one, _ := readCredentials(&first, 0)
		for _, cred := range one {
			slow = slow.with(cred)
		}
		all, _ := readCredentials(&second, 0)
		quick := empty.filled(all)
		if quick.size != slow.size || quick.extra != slow.extra || quick.nextCred != slow.nextCred || len(quick.entries) != len(slow.entries) {
			t.Fatalf("filled: %d entries, %d bytes; stored: %d entries, %d bytes", len(quick.entries), quick.size, len(slow.entries), slow.size)
		}
		for i, e := range quick.entries {
			if s := slow.entries[i]; s.seq != e.seq || s.identity != e.identity || string(s.record) != string(e.record) {
				t.Fatalf("entry %d differs", i)
			}
		}
	}
}

func TestAPublishedCacheNeverChanges(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	before := r.server.users.of(1000).published.Load()
	for i := range 20 {
		c.must(protocol.OpStore, name("1000"), service("alice", fmt.Sprintf("host/%d", i)))
	}
	c.must(protocol.OpStore, name("1000"), tgt("alice"))
	c.must(protocol.OpRemoveCred, name("1000"), u32(0), credtagOf(service("alice", "host/3")))
	c.must(protocol.OpDestroy, name("1000"))
	if len(before.caches) != 1 || len(before.caches[0].entries) != 1 || string(before.caches[0].entries[0].raw()) != string(tgt("alice")) {
		t.Errorf("the state that a reader held has changed: %+v", before.caches[0])
	}
}
