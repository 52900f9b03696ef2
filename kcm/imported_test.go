package kcm

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"gosssd/kcm/ldb"
	"gosssd/kcm/ldb/ldbtest"
	"gosssd/kcm/protocol"
)

// importing is a rig beside a database of SSSD's own sssd_kcm, in which uid
// 1000 has two caches, of which the younger is the default, and uid 1001 one.
func importing(t *testing.T) (*rig, *ldbtest.Builder) {
	t.Helper()
	r := newRig(t, nil)
	b := ldbtest.New()
	b.Cache(1000, 1, "1000:younger", 20, "a", "b")
	b.Cache(1000, 2, "1000", 10, "c")
	b.Choose(1000, 1)
	b.Cache(1001, 3, "1001", 10)
	r.sssd.Store(&b.File)
	return r, b
}

func (r *rig) importAll(again bool) (imported, error) {
	r.t.Helper()
	result, err := r.server.Call(context.Background(), importCaches, []any{again})
	return imported{result[0].(bool), result[1].(uint32), result[2].(uint32), result[3].(uint32), result[4].([]string)}, err
}

func (r *rig) mustImport(again bool, want imported) {
	r.t.Helper()
	got, err := r.importAll(again)
	if err != nil {
		r.t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		r.t.Errorf("%+v, want %+v", got, want)
	}
}

func TestCachesOfSSSDAreImportedInTheirOrderWithTheirDefault(t *testing.T) {
	r, _ := importing(t)
	r.mustImport(false, imported{users: 2, caches: 3})
	c := r.client(1000)
	equal(t, "caches", c.caches(), []string{"1000", "1000:younger"})
	equal(t, "credentials", c.servers("1000:younger"), []string{"host/a@EXAMPLE.TEST", "host/b@EXAMPLE.TEST"})
	if got := c.defaultName(); got != "1000:younger" {
		t.Errorf("default is %q", got)
	}
	if reply := c.must(protocol.OpGetKDCOffset, name("1000")); string(reply) != "\x00\x00\x00\x0a" {
		t.Errorf("offset is %x", reply)
	}
	r.checkStore(1000)
	r.checkStore(1001)
}

func TestAnImportedDatabaseIsNotImportedTwice(t *testing.T) {
	r, b := importing(t)
	r.mustImport(false, imported{users: 2, caches: 3})
	r.client(1001).must(protocol.OpDestroy, name("1001"))
	r.mustImport(false, imported{doneBefore: true})
	r.start(nil) // the same after a restart
	r.mustImport(false, imported{doneBefore: true})
	if got := r.client(1001).caches(); len(got) != 0 {
		t.Errorf("a destroyed cache came back: %v", got)
	}
	r.mustImport(true, imported{users: 2, caches: 1, present: 2})
	b.Cache(1002, 4, "1002", 30)
	r.sssd.Store(&b.File)
	r.mustImport(false, imported{users: 3, caches: 1, present: 3})
}

func TestWhatTheUserHasSinceIsNotReplacedByAnImport(t *testing.T) {
	r, _ := importing(t)
	c := r.client(1000)
	c.login("1000", "carol")
	r.mustImport(false, imported{users: 2, caches: 2, present: 1})
	equal(t, "principal", c.must(protocol.OpGetPrincipal, name("1000")), princ("carol@"+realm))
	if got := c.defaultName(); got != "1000" {
		t.Errorf("default is %q", got)
	}
}

func TestAProblemOfOneRecordIsToldAndTheRestImported(t *testing.T) {
	r, b := importing(t)
	b.Entry(ldbtest.CacheDN(1003, 9, "1003"), "creationTime", "1", "enctype", "masterkey", "secret", "x")
	b.Cache(1004, 10, "1000:of another", 1)
	r.sssd.Store(&b.File)
	got, err := r.importAll(false)
	if err != nil || got.caches != 3 || len(got.problems) != 2 ||
		!strings.Contains(got.problems[0], ldb.ErrEncrypted.Error()) || !strings.Contains(got.problems[1], `cache "1000:of another" of uid 1004: `) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAnImportThatFailsSaysSoAndCanBeRepeated(t *testing.T) {
	r, _ := importing(t)
	r.store.set("commit", errors.New("no space left"))
	if _, err := r.importAll(false); err == nil || !strings.Contains(err.Error(), "uid 1000: ") || !strings.Contains(err.Error(), "no space left") {
		t.Error(err)
	}
	r.store.set("commit", nil)
	r.mustImport(false, imported{users: 2, caches: 3})

	r.sssd.Store(&[]byte{1, 2, 3})
	if _, err := r.importAll(false); !errors.Is(err, ldb.ErrNotTDB) {
		t.Error(err)
	}
	r.sssd.Store(nil)
	r.mustImport(false, imported{})
}

func TestNumberedCachesOfSSSDAreOfLogins(t *testing.T) {
	for cacheName, want := range map[string]bool{
		"1000:5": true, "1000:99998": true, "1000": false, "1000:": false, "1000:cron": false, "1000:05": false, "1000:5x": false, "1000:4294967296": false,
	} {
		c, err := importedCache(1000, ldb.Cache{Name: cacheName, Principal: princ("alice@" + realm)}, 7)
		if err != nil || c.generated != want {
			t.Errorf("%s: generated is %t, want %t (%v)", cacheName, c != nil && c.generated, want, err)
		}
	}
}
