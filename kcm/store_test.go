package kcm

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"gosssd/kcm/protocol"
)

func TestAFailedCommitChangesNothing(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	r.signals.take()
	r.store.set("commit", errDisk)
	for op, params := range map[protocol.Op][]byte{
		protocol.OpInitialize: princ("bob@" + realm), protocol.OpStore: service("alice", "host/a"), protocol.OpDestroy: nil,
		protocol.OpSetKDCOffset: u32(1), protocol.OpReplace: append(append(u32(0), princ("bob@"+realm)...), u32(0)...),
		protocol.OpSetDefaultCache: nil,
	} {
		c.notRun(protocol.WriteFailed, op, name("1000"), params)
		equal(t, "credentials", c.servers("1000"), []string{tgs})
	}
	if got := r.signals.take(); got != "" {
		t.Errorf("signals of changes that failed: %s", got)
	}
	if !strings.Contains(r.logged.String(), errDisk.Error()) {
		t.Error("the log does not say why")
	}
}

func TestAfterALostAnswerTheStoreIsAsked(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	r.store.set("lost commit", errDisk)
	c.notRun(protocol.WriteFailed, protocol.OpStore, name("1000"), service("alice", "host/a"))
	r.store.set("load", errDisk)
	c.notRun(protocol.IOError, protocol.OpGetCredList, name("1000"))
	c.notRun(protocol.IOError, protocol.OpRetrieve, name("1000"), u32(0), credtagOf(tgt("alice")))
	c.notRun(protocol.IOError, protocol.OpReplace, name("1000"), u32(0), princ("bob@"+realm), u32(0))
	r.store.set("", nil)
	equal(t, "credentials", c.servers("1000"), []string{tgs, "host/a@" + realm})
}

func TestTheStoreIsOpenedWhenItIsNeededAndTriedAgain(t *testing.T) {
	r := newRig(t, nil)
	r.store.set("open", errDisk)
	c := r.client(1000)
	c.must(protocol.OpNoop)
	c.notRun(protocol.IOError, protocol.OpGetDefaultCache)
	c.notRun(protocol.IOError, protocol.OpReplace, name("1000"), u32(0), princ("bob@"+realm), u32(0))
	r.store.set("", nil)
	if got := c.defaultName(); got != "1000" {
		t.Errorf("default is %q", got)
	}
}

func TestAStoreCommitsOnlyItsChange(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	for i := range 100 {
		c.must(protocol.OpStore, name("1000"), service("alice", fmt.Sprintf("host/%d", i)))
	}
	c.must(protocol.OpStore, name("1000"), service("alice", "host/7"))
	c.must(protocol.OpSetDefaultCache, name("1000"))
	c.must(protocol.OpSetDefaultCache, name("1000"))
	want := []int{2} // header and TGT of the login
	for range 102 {
		want = append(want, 1)
	}
	equal(t, "records per commit", r.store.commits, want)
	c.login("1000", "alice")
	if got := len(r.store.commits); got != len(want)+1 {
		t.Errorf("REPLACE made %d commits", got-len(want))
	}
	r.checkStore(1000)
}

func TestWhatWasCommittedSurvivesARestart(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	for i := range 5 {
		n := fmt.Sprintf("1000:%d", i)
		c.login(n, "alice")
		c.must(protocol.OpStore, name(n), service("alice", "z"))
		c.must(protocol.OpStore, name(n), service("alice", "a"))
		c.must(protocol.OpSetKDCOffset, name(n), u32(uint32(i)))
	}
	c.must(protocol.OpDestroy, name("1000:1"))
	c.must(protocol.OpSetDefaultCache, name("1000:3"))
	c.login("1000:1", "alice")
	names, ids := c.caches(), string(c.must(protocol.OpGetCacheUUIDList))
	credentials := string(c.must(protocol.OpGetCredUUIDList, name("1000:2")))
	r.start(nil)
	c = r.client(1000)
	equal(t, "caches", c.caches(), names)
	equal(t, "credentials", c.servers("1000:2"), []string{tgs, "z@" + realm, "a@" + realm})
	if string(c.must(protocol.OpGetCacheUUIDList)) != ids || string(c.must(protocol.OpGetCredUUIDList, name("1000:2"))) != credentials {
		t.Error("UUIDs have changed")
	}
	if got := c.defaultName(); got != "1000:3" {
		t.Errorf("default is %q", got)
	}
	if got := c.must(protocol.OpGetKDCOffset, name("1000:4")); string(got) != string(u32(4)) {
		t.Errorf("offset is %x", got)
	}
	r.checkStore(1000)
}

func TestADamagedRecordCostsOnlyItself(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000:a", "alice")
	c.must(protocol.OpStore, name("1000:a"), service("alice", "host/a"))
	c.login("1000:b", "bob")
	s := r.server.users.of(1000).published.Load()
	broken := map[string][]byte{
		credentialKey(s.caches[0].id, 0): {recordVersion, 1, 2, 3},
		headerKey(s.caches[1].id):        {99},
		"strange":                        {1},
		defaultKey:                       {1},
	}
	if err := r.store.Memory.Commit(t.Context(), 1000, broken); err != nil {
		t.Fatal(err)
	}
	r.start(nil)
	c = r.client(1000)
	equal(t, "caches", c.caches(), []string{"1000:a"})
	equal(t, "credentials", c.servers("1000:a"), []string{"host/a@" + realm})
	if got := strings.Count(r.logged.take(), "damaged record is left alone"); got != 5 { // with the TGT of b, whose header is gone
		t.Errorf("%d damaged records are logged", got)
	}
	for key, value := range broken {
		if string(r.store.records(1000)[key]) != string(value) {
			t.Errorf("record %s was touched", key)
		}
	}
	c.must(protocol.OpStore, name("1000:a"), service("alice", "host/b"))
	c.must(protocol.OpDestroy, name("1000:a"))
	for key := range r.store.records(1000) {
		if strings.Contains(key, s.caches[0].id.String()) {
			t.Errorf("record %s is left of a cache that was destroyed", key)
		}
	}
}

func TestAFullDiskIsSaid(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, fullError{}} {
		r.store.set("commit", fmt.Errorf("journal: %w", cause))
		c.refused(protocol.DiskFull, protocol.OpStore, name("1000"), service("alice", "host/a"))
	}
}

// TestARefusalForWantOfRoomLosesNothing: the user's caches stay in memory, and
// are served however the store is.
func TestARefusalForWantOfRoomLosesNothing(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	r.store.set("commit", fullError{})
	c.refused(protocol.DiskFull, protocol.OpStore, name("1000"), service("alice", "host/a"))
	r.store.set("load", errDisk)
	equal(t, "credentials", c.servers("1000"), []string{tgs})
	r.store.set("", nil)
	c.must(protocol.OpStore, name("1000"), service("alice", "host/a"))
	c.must(protocol.OpDestroy, name("1000"))
}

// fullError is how a store says that its disk is full.
type fullError struct{}

func (fullError) Error() string { return "no room" }
func (fullError) Full() bool    { return true }
