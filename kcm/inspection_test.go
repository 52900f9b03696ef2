package kcm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/kcm/protocol"
)

// pages asks CachesOf until all users are done with.
func (r *rig) pages(uids ...uint32) (caches []Listed, unread []Unread, calls int) {
	r.t.Helper()
	for skip := uint32(0); len(uids) > 0; calls++ {
		result, err := r.server.Call(r.t.Context(), cachesOf, []any{uids, skip})
		if err != nil {
			r.t.Fatal(err)
		}
		message := dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(result...)),
			dbus.FieldPath:      dbus.MakeVariant(dbus.ObjectPath("/")), dbus.FieldInterface: dbus.MakeVariant("a.b"), dbus.FieldMember: dbus.MakeVariant("C"),
		}, Body: result}
		var raw bytes.Buffer
		if err := message.EncodeTo(&raw, binary.LittleEndian); err != nil || raw.Len() > 1<<20 {
			r.t.Errorf("page %d is no message of the bus: %d bytes, %v", calls, raw.Len(), err)
		}
		caches, unread = append(caches, result[0].([]Listed)...), append(unread, result[1].([]Unread)...)
		uids, skip = uids[result[2].(uint32):], result[3].(uint32)
	}
	return caches, unread, calls
}

// TestCachesAreListedByPages has two users with more caches of long names than
// a message of the bus holds, and one whose caches cannot be read.
func TestCachesAreListedByPages(t *testing.T) {
	const each = 200
	r := newRig(t, conf{"max_uid_ccaches": "0"})
	var want []string
	for _, uid := range []uint32{1000, 1002} {
		c := r.client(uid)
		for i := range each {
			cache := fmt.Sprintf("%d:%d%s", uid, i, strings.Repeat("n", 4000))
			c.must(protocol.OpInitialize, name(cache), princ("alice@"+realm))
			want = append(want, cache)
		}
	}
	r.store.set("load", errors.New("the disk is gone"))
	got, unread, calls := r.pages(1000, 1001, 1002, 1003)
	names := make([]string, len(got))
	for i, c := range got {
		names[i] = c.Name
	}
	equal(t, "names", names, want)
	if calls < 4 {
		t.Errorf("%d calls for %d caches", calls, len(got))
	}
	if len(unread) != 2 || unread[0].UID != 1001 || unread[1].UID != 1003 || !strings.Contains(unread[0].Reason, "the disk is gone") {
		t.Errorf("unread: %v", unread)
	}
}

// TestTheLastUseOfACacheIsKnown also when it has left memory meanwhile. Lists do
// not use what is in them.
func TestTheLastUseOfACacheIsKnown(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000:1", "alice")
	c.login("1000:2", "bob")
	r.pass(time.Minute)
	c.must(protocol.OpGetPrincipal, name("1000:2"))
	r.pass(time.Minute)
	c.must(protocol.OpGetCacheUUIDList)
	used := func() []int64 {
		caches, _, _ := r.pages(1000)
		return []int64{caches[0].Used - startOfTime, caches[1].Used - startOfTime}
	}
	equal(t, "in memory", used(), []int64{0, 60})
	r.evictAll()
	equal(t, "not in memory", used(), []int64{0, 60})
	c.must(protocol.OpGetPrincipal, name("1000:1"))
	equal(t, "back in memory", used(), []int64{120, 60})
}
