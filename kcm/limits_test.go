package kcm

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

func TestUserLimit(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "2"})
	c := r.client(1000)
	c.login("1000:a", "alice")
	c.must(protocol.OpInitialize, name("1000:b"), princ("bob@"+realm))
	for _, attempt := range []struct {
		op     protocol.Op
		params []byte
	}{
		{protocol.OpInitialize, princ("carol@" + realm)},
		{protocol.OpReplace, append(append(u32(0), princ("carol@"+realm)...), u32(0)...)},
		{protocol.OpSetDefaultCache, nil},
	} {
		c.refused(protocol.Quota, attempt.op, name("1000:c"), attempt.params)
	}
	equal(t, "caches", c.caches(), []string{"1000:a", "1000:b"})
	if got := c.defaultName(); got != "1000:a" {
		t.Errorf("a refused switch made %q the default", got)
	}
	if !strings.Contains(r.logged.String(), "max_uid_ccaches") {
		t.Error("the log does not name the limit")
	}
	t.Run("does not keep what exists from changing", func(t *testing.T) {
		c.t = t
		c.login("1000:a", "alice")
		c.must(protocol.OpInitialize, name("1000:b"), princ("bob@"+realm))
		c.must(protocol.OpStore, name("1000:b"), tgt("bob"))
		c.must(protocol.OpSetKDCOffset, name("1000:b"), u32(1))
		c.must(protocol.OpSetDefaultCache, name("1000:b"))
		c.must(protocol.OpMoveCache, name("1000:b"), name("1000:c"))
	})
	c.t = t
	t.Run("is another user's affair", func(*testing.T) { r.client(1001).login("1001", "bob") })
	t.Run("counts anew after a cache is destroyed", func(*testing.T) {
		c.must(protocol.OpDestroy, name("1000:a"))
		c.login("1000:x", "xenia")
	})
	t.Run("can be raised at run time", func(*testing.T) {
		r.server.Reload(snapshot(t, conf{"max_uid_ccaches": "3"}))
		c.login("1000:y", "yves")
		c.refused(protocol.Quota, protocol.OpSetDefaultCache, name("1000:z"))
	})
	r.checkStore(1000)
}

func TestExpiredCachesMakeRoom(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "3"})
	c := r.client(1000)
	for _, n := range []string{"1000:empty", "1000:old", "1000:new"} {
		c.must(protocol.OpInitialize, name(n), princ("alice@"+realm))
	}
	c.must(protocol.OpStore, name("1000:old"), raw(ticket("alice", tgs, 60)))
	c.must(protocol.OpStore, name("1000:new"), raw(ticket("alice", tgs, 600)))
	c.refused(protocol.Quota, protocol.OpInitialize, name("1000:x"), princ("xenia@"+realm))
	r.pass(61 * time.Second)
	c.must(protocol.OpInitialize, name("1000:x"), princ("xenia@"+realm))
	equal(t, "caches", c.caches(), []string{"1000:empty", "1000:new", "1000:x"})
	c.refused(protocol.Quota, protocol.OpInitialize, name("1000:y"), princ("yves@"+realm))
	r.checkStore(1000)
}

func TestCachesThatWereBegunAndBrokenOffMakeRoom(t *testing.T) {
	r := newRig(t, conf{"max_uid_ccaches": "2"})
	c := r.client(1000)
	c.must(protocol.OpSetDefaultCache, name("1000:a"))
	c.must(protocol.OpSetDefaultCache, name("1000:b"))
	c.must(protocol.OpSetDefaultCache, name("1000:c"))
	equal(t, "caches", c.caches(), []string{"1000:c"})
	c.login("1000:c", "alice")
	c.must(protocol.OpInitialize, name("1000:d"), princ("bob@"+realm)) // empty, but somebody's
	c.refused(protocol.Quota, protocol.OpSetDefaultCache, name("1000:e"))
	r.checkStore(1000)
}

func TestGlobalLimit(t *testing.T) {
	r := newRig(t, nil)
	for uid := uint32(1000); uid < 1003; uid++ {
		c := r.client(uid)
		n := fmt.Sprint(uid)
		c.must(protocol.OpInitialize, name(n), princ("alice@"+realm))
		c.must(protocol.OpStore, name(n), raw(ticket("alice", tgs, 1000+1000*int(uid-1000))))
	}
	r.start(conf{"max_ccaches": "4"}) // a server that has seen none of these users
	c := r.client(1005)
	c.must(protocol.OpInitialize, name("1005:a"), princ("alice@"+realm))
	c.refused(protocol.Quota, protocol.OpInitialize, name("1005:b"), princ("alice@"+realm))
	c.must(protocol.OpInitialize, name("1005:a"), princ("alice@"+realm))

	r.pass(1001 * time.Second)
	c.must(protocol.OpInitialize, name("1005:b"), princ("alice@"+realm))
	if got := r.client(1000).caches(); got != nil {
		t.Errorf("the expired cache of another user is still there: %v", got)
	}
	equal(t, "caches of another", r.client(1001).caches(), []string{"1001"})
	c.refused(protocol.Quota, protocol.OpInitialize, name("1005:c"), princ("alice@"+realm))
	c.must(protocol.OpDestroy, name("1005:a"))
	c.must(protocol.OpInitialize, name("1005:c"), princ("alice@"+realm))

	r.pass(time.Second)
	r.store.set("commit", errDisk)
	c.must(protocol.OpNoop)
	c.notRun(protocol.WriteFailed, protocol.OpDestroy, name("1005:c"))
	r.store.set("", nil)
	c.must(protocol.OpDestroy, name("1005:c"))
	c.must(protocol.OpInitialize, name("1005:d"), princ("alice@"+realm))
	c.refused(protocol.Quota, protocol.OpInitialize, name("1005:e"), princ("alice@"+realm))
}

func TestSizeLimit(t *testing.T) {
	large := func(n int, end int) []byte {
		cred := ticket("alice", fmt.Sprintf("host/%d@%s", n, realm), end)
		cred.Ticket = bytes.Repeat([]byte{1}, 600)
		return raw(cred)
	}
	t.Run("a refused login leaves no empty cache", func(t *testing.T) {
		r := newRig(t, conf{"max_ccache_size": "1"})
		c := r.client(1000)
		c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
		c.must(protocol.OpStore, name("1000"), config("alice", "x", "y"))
		cred := ticket("alice", tgs, 100)
		cred.Ticket = make([]byte, 2000)
		c.refused(protocol.Quota, protocol.OpStore, name("1000"), raw(cred))
		equal(t, "caches", c.caches(), nil)
		if left := r.store.records(1000); len(left) > 0 {
			t.Errorf("records left: %v", sortedKeys(left))
		}
	})
	t.Run("a refused REPLACE keeps the old cache", func(t *testing.T) {
		r := newRig(t, conf{"max_ccache_size": "1"})
		c := r.client(1000)
		c.login("1000", "alice")
		list := protocol.AppendCredentialList(nil, [][]byte{large(1, 100), large(2, 100)})
		c.refused(protocol.Quota, protocol.OpReplace, name("1000"), u32(0), princ("bob@"+realm), list)
		c.refused(protocol.Quota, protocol.OpReplace, name("1000:b"), u32(0), princ("bob@"+realm), list)
		c.refused(protocol.Quota, protocol.OpInitialize, name("1000"), princ(strings.Repeat("x", 2000)))
		c.refused(protocol.Quota, protocol.OpInitialize, name("1000:b"), princ(strings.Repeat("x", 2000)))
		equal(t, "caches", c.caches(), []string{"1000"})
		equal(t, "credentials", c.servers("1000"), []string{tgs})
		r.checkStore(1000)
	})
	t.Run("a refused ticket costs no other, and expired ones make room", func(t *testing.T) {
		r := newRig(t, conf{"max_ccache_size": "2"})
		c := r.client(1000)
		c.login("1000", "alice")
		c.must(protocol.OpStore, name("1000"), large(1, 50))
		c.must(protocol.OpStore, name("1000"), large(1, 60))
		c.must(protocol.OpStore, name("1000"), large(2, 500))
		c.refused(protocol.Quota, protocol.OpStore, name("1000"), large(3, 500))
		if got := len(c.servers("1000")); got != 3 {
			t.Fatalf("%d credentials after a refusal", got)
		}
		r.pass(61 * time.Second)
		c.must(protocol.OpStore, name("1000"), large(3, 500))
		equal(t, "credentials", c.servers("1000"), []string{tgs, "host/2@" + realm, "host/3@" + realm})
		r.checkStore(1000)
	})
	t.Run("the store's own quota is told alike", func(t *testing.T) {
		r := newRig(t, nil)
		c := r.client(1000)
		c.login("1000", "alice")
		r.store.set("commit", quotaError{})
		c.refused(protocol.Quota, protocol.OpStore, name("1000"), service("alice", "host/a"))
		c.refused(protocol.Quota, protocol.OpInitialize, name("1000:b"), princ("alice@"+realm))
		r.store.set("load", errDisk) // nothing was written, so nothing has to be read again
		equal(t, "credentials", c.servers("1000"), []string{tgs})
	})
}
