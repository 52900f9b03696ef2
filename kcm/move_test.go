package kcm

import (
	"context"
	"maps"
	"strings"
	"testing"

	"gosssd/confdb"
	"gosssd/kcm/protocol"
)

// change is a rig whose storage was changed: uid 1000 has the caches 1000 and
// 1000:old in the earlier storage, the latter being the default.
func change(t *testing.T) *rig {
	t.Helper()
	before := newRig(t, nil)
	c := before.client(1000)
	for range 5 { // all rigs draw the same UUIDs: those below must not be drawn again
		c.login("1000:first", "dave")
		c.must(protocol.OpDestroy, name("1000:first"))
	}
	c.login("1000", "alice")
	c.login("1000:old", "bob")
	c.must(protocol.OpStore, name("1000:old"), service("bob", "host/a"))
	c.must(protocol.OpSetDefaultCache, name("1000:old"))
	r := newRig(t, nil)
	r.earlier.Store(before.store)
	return r
}

// move calls the methods of the bus, as sssctl does.
func (r *rig) move(uid uint32) (counts [3]uint32, err error) {
	r.t.Helper()
	result, err := r.server.Call(context.Background(), moveCaches, []any{StorageSecdb, uid})
	for i := range counts {
		counts[i] = result[i].(uint32)
	}
	return counts, err
}

func (r *rig) mustMove(uid uint32, want ...uint32) {
	r.t.Helper()
	if got, err := r.move(uid); err != nil || got != [3]uint32(want) {
		r.t.Errorf("moved, dropped, damaged: %v, %v; want %v", got, err, want)
	}
}

func TestCachesAreBroughtFromTheStorageBefore(t *testing.T) {
	r := change(t)
	result, err := r.server.Call(context.Background(), ownersIn, []any{StorageSecdb})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "owners", result[0].([]uint32), []uint32{1000})
	r.mustMove(1000, 2, 0, 0)
	c := r.client(1000)
	equal(t, "caches", c.caches(), []string{"1000", "1000:old"})
	equal(t, "credentials", c.servers("1000:old"), []string{tgs, "host/a@" + realm})
	if got := c.defaultName(); got != "1000:old" {
		t.Errorf("default is %q", got)
	}
	r.checkStore(1000)
	if left := r.earlier.Load().records(1000); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := r.signals.take(); strings.Count(got, created) != 2 {
		t.Errorf("signals: %s", got)
	}
	r.mustMove(1000, 0, 0, 0)
	r.mustMove(1001, 0, 0, 0)
	equal(t, "caches", c.caches(), []string{"1000", "1000:old"})
}

// TestWhatWasImportedIsNotImportedAgainAfterAMove guards that caches which were
// destroyed since do not come back.
func TestWhatWasImportedIsNotImportedAgainAfterAMove(t *testing.T) {
	r := change(t)
	digest := map[string][]byte{importedKey: []byte("digest of a database")}
	if err := r.earlier.Load().Commit(context.Background(), 0, digest); err != nil {
		t.Fatal(err)
	}
	r.mustMove(0, 0, 0, 0)
	if kept := r.store.records(0)[importedKey]; string(kept) != "digest of a database" {
		t.Errorf("kept: %q", kept)
	}
}

func TestACacheInUseIsNotReplacedByAnOlderOne(t *testing.T) {
	r := change(t)
	c := r.client(1000)
	c.login("1000", "carol")
	r.mustMove(1000, 1, 1, 0)
	equal(t, "caches", c.caches(), []string{"1000", "1000:old"})
	equal(t, "principal", c.must(protocol.OpGetPrincipal, name("1000")), princ("carol@"+realm))
	if got := c.defaultName(); got != "1000" {
		t.Errorf("default is %q", got)
	}
	r.checkStore(1000)
	if left := r.earlier.Load().records(1000); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestAMoveThatIsBrokenOffLosesNothing fails each of its two commits.
func TestAMoveThatIsBrokenOffLosesNothing(t *testing.T) {
	r := change(t)
	before := r.earlier.Load().records(1000)
	r.store.largest = 10 // a quota
	if _, err := r.move(1000); err == nil {
		t.Error("a commit that was refused is no error")
	}
	r.store.largest = 0
	r.store.set("commit", errDisk)
	if _, err := r.move(1000); err == nil {
		t.Error("a commit that failed is no error")
	}
	if !maps.EqualFunc(before, r.earlier.Load().records(1000), func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("caches are gone that were not moved")
	}
	r.store.set("", nil)
	r.earlier.Load().set("commit", errDisk)
	if got, err := r.move(1000); err == nil || got != [3]uint32{2, 0, 0} {
		t.Errorf("the removal failed: %v, %v", got, err)
	}
	r.earlier.Load().set("", nil)
	c := r.client(1000)
	c.must(protocol.OpStore, name("1000"), service("alice", "host/new"))
	r.mustMove(1000, 0, 2, 0)
	equal(t, "credentials", c.servers("1000"), []string{tgs, "host/new@" + realm})
	if left := r.earlier.Load().records(1000); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	r.checkStore(1000)
}

func TestADamagedRecordStaysInTheStorageBefore(t *testing.T) {
	r := change(t)
	damaged := map[string][]byte{"ccache/nonsense": {1}}
	if err := r.earlier.Load().Commit(context.Background(), 1000, damaged); err != nil {
		t.Fatal(err)
	}
	r.mustMove(1000, 2, 0, 1)
	if left := r.earlier.Load().records(1000); len(left) != 1 || left["ccache/nonsense"] == nil {
		t.Errorf("left behind: %v", left)
	}
	r.checkStore(1000)
}

func TestCachesAreMovedFromAnotherPersistentStorageOnly(t *testing.T) {
	r := change(t)
	for from, want := range map[string]string{StorageSecrets: "in use", StorageMemory: "not from 'memory'", "": "not from ''"} {
		for method, args := range map[string][]any{ownersIn: {from}, moveCaches: {from, uint32(1000)}} {
			if _, err := r.server.Call(context.Background(), method, args); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s from %q: %v", method, from, err)
			}
		}
	}
	r.earlier.Store(nil)
	r.mustMove(1000, 0, 0, 0)
}

func TestCachesThatWereLeftBehindAreTold(t *testing.T) {
	r := change(t)
	r.server.logLeftBehind(context.Background())
	if got := r.logged.String(); !strings.Contains(got, "'sssctl ccache move'") || !strings.Contains(got, "[users: 1]") && !strings.Contains(got, "users=1") && !strings.Contains(got, "users 1") {
		t.Errorf("the log: %s", got)
	}
	conf := func(storage string) *confdb.Snapshot {
		return snapshot(t, map[string]string{"ccache_storage": storage})
	}
	for change, want := range map[[2]string]string{
		{"secrets", "secdb"}: "'sssctl ccache move'", {"secdb", "memory"}: "'sssctl ccache move'",
		{"memory", "secrets"}: "until it ends", {"secrets", "Secrets"}: "",
	} {
		remarks := storageChange(conf(change[0]), conf(change[1]))
		if want == "" && len(remarks) > 0 || want != "" && (len(remarks) != 1 || !strings.Contains(remarks[0].Text, want)) {
			t.Errorf("%v: %v", change, remarks)
		}
	}
}
