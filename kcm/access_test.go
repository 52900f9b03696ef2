package kcm

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
	"gosssd/responder/log"
	"gosssd/responder/metric"
)

func TestOwnerOfAName(t *testing.T) {
	for text, want := range map[string]uint32{
		"1000": 1000, "1000:": 1000, "1000:a:b": 1000, "0": 0, "0:x": 0, "4294967295": 1<<32 - 1,
		"4294967296": 0, "99999999999999999999": 0, "01000": 0, "1000x": 0, "": 0, ":": 0, "foo": 0, "+1": 0, "10 00:": 0,
	} {
		if got := ownerOf([]byte(text)); got != want {
			t.Errorf("%q belongs to %d, want %d", text, got, want)
		}
	}
}

func TestAnEmptyNameMeansTheDefaultCache(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.refused(protocol.NoFile, protocol.OpGetPrincipal, name(""))
	c.must(protocol.OpInitialize, name(""), princ("alice@"+realm))
	if got := c.must(protocol.OpGetName, name("")); string(got) != "1000\x00" {
		t.Errorf("the first cache is called %q", got)
	}
	c.login("1000:other", "bob")
	c.must(protocol.OpSetDefaultCache, name("1000:other"))
	if got := c.must(protocol.OpGetName, name("")); string(got) != "1000:other\x00" {
		t.Errorf("the default is called %q", got)
	}
	c.must(protocol.OpMoveCache, name("1000"), name(""))
	if got := c.must(protocol.OpGetName, name("")); string(got) != "1000:other\x00" {
		t.Errorf("after a move to the default it is called %q", got)
	}
	c.must(protocol.OpDestroy, name(""))
	c.refused(protocol.NoFile, protocol.OpGetPrincipal, name(""))
}

func TestNamesAUserMayGive(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	for _, n := range []string{"1000", "1000:", "1000:a/b,c+d=e", "1000: blank ", "1000:\xff\x01", "1000:" + strings.Repeat("x", maxName-5)} {
		c.login(n, "alice")
		if got := c.must(protocol.OpGetName, name(n)); string(got) != n+"\x00" {
			t.Errorf("%q comes back as %q", n, got)
		}
	}
	r.checkStore(1000)
	for _, n := range []string{"1001", "1001:x", "10001", "100", "1000x", "01000", "foo", "0", "1000:" + strings.Repeat("x", maxName-4)} {
		c.refused(protocol.BadName, protocol.OpInitialize, name(n), princ("alice@"+realm))
		c.refused(protocol.BadName, protocol.OpReplace, name(n), u32(0), princ("alice@"+realm), u32(0))
		c.refused(protocol.BadName, protocol.OpSetDefaultCache, name(n))
		c.refused(protocol.BadName, protocol.OpMoveCache, name("1000"), name(n))
		c.refused(protocol.NoFile, protocol.OpGetPrincipal, name(n))
	}
}

func TestOthersSeeNothing(t *testing.T) {
	r := newRig(t, nil)
	alice, mallory := r.client(1000), r.client(1001)
	alice.login("1000", "alice")
	alice.must(protocol.OpChmod, name("1000"), u16(0o777))
	id := alice.must(protocol.OpGetCacheUUIDList)
	mallory.refused(protocol.NoFile, protocol.OpGetPrincipal, name("1000"))
	mallory.refused(protocol.NoFile, protocol.OpGetCredList, name("1000"))
	mallory.refused(protocol.NoFile, protocol.OpStore, name("1000"), tgt("mallory"))
	mallory.refused(protocol.NoFile, protocol.OpDestroy, name("1000"))
	mallory.refused(protocol.NoFile, protocol.OpChown, name("1000"), u32(1001), u32(1001))
	mallory.refused(protocol.End, protocol.OpGetCacheByUUID, id)
	mallory.refused(protocol.NoFile, protocol.OpGetCacheUUIDList)
	equal(t, "caches", alice.caches(), []string{"1000"})
	for _, c := range r.server.users.all() {
		if c.uid != 1000 && c.uid != 1001 {
			t.Errorf("a shell was made for uid %d", c.uid)
		}
	}
}

func TestModesBindTheOwner(t *testing.T) {
	r := newRig(t, nil)
	c, root := r.client(1000), r.client(0)
	c.login("1000", "alice")
	c.must(protocol.OpChmod, name("1000"), u16(0o400))
	c.must(protocol.OpGetPrincipal, name("1000"))
	for op, params := range map[protocol.Op][]byte{
		protocol.OpInitialize: princ("alice@" + realm), protocol.OpStore: tgt("alice"), protocol.OpDestroy: nil,
		protocol.OpSetKDCOffset: u32(1), protocol.OpMoveCache: name("1000:b"),
		protocol.OpReplace: append(append(u32(0), princ("alice@"+realm)...), u32(0)...),
	} {
		c.refused(protocol.Perm, op, name("1000"), params)
	}
	c.must(protocol.OpSetDefaultCache, name("1000"))
	c.must(protocol.OpChmod, name("1000"), u16(0o200))
	c.refused(protocol.Perm, protocol.OpGetPrincipal, name("1000"))
	c.refused(protocol.Perm, protocol.OpGetCredList, name("1000"))
	c.must(protocol.OpStore, name("1000"), service("alice", "host/a"))
	root.must(protocol.OpGetCredList, name("1000"))

	r.start(nil)
	r.client(1000).refused(protocol.Perm, protocol.OpGetPrincipal, name("1000"))
	c.must(protocol.OpChmod, name("1000"), u16(0o600))
	c.must(protocol.OpDestroy, name("1000"))
}

func TestRootReachesEveryCacheByName(t *testing.T) {
	r := newRig(t, nil)
	alice, root := r.client(1000), r.client(0)
	alice.login("1000:a", "alice")
	root.login("0", "root")
	root.login("free name", "root")
	if got := root.must(protocol.OpGetPrincipal, name("1000:a")); !bytes.Equal(got, princ("alice@"+realm)) {
		t.Errorf("principal is %x", got)
	}
	root.must(protocol.OpStore, name("1000:a"), service("alice", "host/a"))
	equal(t, "credentials", alice.servers("1000:a"), []string{tgs, "host/a@" + realm})
	root.login("1000:b", "bob")
	equal(t, "caches of alice", alice.caches(), []string{"1000:a", "1000:b"})
	equal(t, "caches of root", root.caches(), []string{"0", "free name"})
	root.refused(protocol.NoFile, protocol.OpGetPrincipal, name("1001"))
	root.refused(protocol.BadName, protocol.OpMoveCache, name("1000:a"), name("0:a"))

	if logged := r.logged.take(); strings.Contains(logged, "another user's cache") {
		t.Errorf("at the default level root's accesses are logged: %s", logged)
	}
}

func TestRootsAccessIsLoggedOnceForEachConnectionAndUser(t *testing.T) {
	r := newRig(t, nil)
	r.client(1000).login("1000:a", "alice")
	r.client(1001).login("1001:b", "bob")
	r.mask = log.Mask(4)
	for range 2 {
		root := r.client(0)
		for range 5 {
			root.must(protocol.OpGetPrincipal, name("1000:a"))
			root.must(protocol.OpGetPrincipal, name("1001:b"))
			root.refused(protocol.NoFile, protocol.OpGetPrincipal, name("1002"))
		}
	}
	logged := r.logged.take()
	if got := strings.Count(logged, "access to another user's cache"); got != 4 {
		t.Errorf("%d lines for two connections to the caches of two users: %s", got, logged)
	}
	for _, want := range []string{
		"op=GET_PRINCIPAL uid=0 pid=" + strconv.Itoa(os.Getpid()) + " program=kcm.test cache=1000:a principal=alice@EXAMPLE.ORG owner=1000",
		"cache=1001:b principal=bob@EXAMPLE.ORG owner=1001",
	} {
		if strings.Count(logged, want) != 2 {
			t.Errorf("the log does not say %s: %s", want, logged)
		}
	}
	if got := metric.Words(r.server.Metrics())["accesses by root"]; got != 4 {
		t.Errorf("%d accesses are counted", got)
	}
}

func TestChown(t *testing.T) {
	r := newRig(t, nil)
	alice, bob, root := r.client(1000), r.client(1001), r.client(0)
	alice.login("1000:a", "alice")
	alice.must(protocol.OpStore, name("1000:a"), service("alice", "host/a"))
	alice.must(protocol.OpSetDefaultCache, name("1000:a"))
	alice.must(protocol.OpChown, name("1000:a"), u32(1000), u32(7))
	alice.refused(protocol.Perm, protocol.OpChown, name("1000:a"), u32(1001), u32(7))

	root.must(protocol.OpChown, name("1000:a"), u32(1001), u32(7))
	equal(t, "caches of alice", alice.caches(), nil)
	equal(t, "caches of bob", bob.caches(), []string{"1000:a"})
	equal(t, "credentials", bob.servers("1000:a"), []string{tgs, "host/a@" + realm})
	alice.refused(protocol.NoFile, protocol.OpGetPrincipal, name("1000:a"))
	root.must(protocol.OpGetPrincipal, name("1000:a"))
	r.checkStore(1000)
	r.checkStore(1001)

	alice.login("1000:a", "alice")
	root.refused(protocol.Exists, protocol.OpChown, name("1000:a"), u32(1001), u32(7))
	equal(t, "caches of alice", alice.caches(), []string{"1000:a"})
}

func TestChownFinishesWhatACrashLeft(t *testing.T) {
	r := newRig(t, nil)
	alice, bob, root := r.client(1000), r.client(1001), r.client(0)
	alice.login("1000:a", "alice")
	commits := 0
	r.store.veto = func() error {
		if commits++; commits == 2 {
			return errDisk
		}
		return nil
	}
	root.notRun(protocol.WriteFailed, protocol.OpChown, name("1000:a"), u32(1001), u32(7))
	equal(t, "caches of alice", alice.caches(), []string{"1000:a"})
	root.must(protocol.OpChown, name("1000:a"), u32(1001), u32(7))
	equal(t, "caches of alice", alice.caches(), nil)
	equal(t, "caches of bob", bob.caches(), []string{"1000:a"})
	r.checkStore(1001)
}
