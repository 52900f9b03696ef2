package kcm

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gosssd/kcm/archive"
	"gosssd/kcm/protocol"
)

// leave returns a user's records in an archive, by the methods of the bus.
func (r *rig) leave(uid uint32) (records []byte, err error) {
	r.t.Helper()
	for total := uint64(1); uint64(len(records)) < total; {
		result, err := r.server.Call(context.Background(), exportRecords, []any{uid, uint64(len(records))})
		if err != nil {
			return nil, err
		}
		records = append(records, result[0].([]byte)...)
		total = result[1].(uint64)
	}
	return records, nil
}

// arrive gives uid 1000 the records of an archive.
func (r *rig) arrive(records []byte) (imported, present uint32, problems []string, err error) {
	r.t.Helper()
	for from := 0; ; from += pieceSize {
		piece := records[from:min(from+pieceSize, len(records))]
		last := from+len(piece) == len(records)
		result, err := r.server.Call(context.Background(), importRecords, []any{uint32(1000), uint64(from), piece, last})
		if last || err != nil {
			return result[0].(uint32), result[1].(uint32), result[2].([]string), err
		}
	}
}

// TestCachesTravelWhole has more records than one message takes, with a
// default, an offset, and a cache that is still empty.
func TestCachesTravelWhole(t *testing.T) {
	r, other := newRig(t, nil), newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	c.login("1000:b", "bob")
	for i := range 30 {
		big := ticket("bob", fmt.Sprintf("host/%d@%s", i, realm), 100)
		big.Ticket = bytes.Repeat([]byte{byte(i)}, 50<<10)
		c.must(protocol.OpStore, name("1000:b"), raw(big))
	}
	c.must(protocol.OpSetKDCOffset, name("1000:b"), u32(77))
	c.must(protocol.OpSetDefaultCache, name("1000:b"))
	records, err := r.leave(1000)
	if err != nil || len(records) < 2*pieceSize {
		t.Fatalf("%d bytes, %v", len(records), err)
	}
	if imported, present, problems, err := other.arrive(records); imported != 2 || present != 0 || len(problems) != 0 || err != nil {
		t.Fatalf("%d, %d, %v, %v", imported, present, problems, err)
	}
	d := other.client(1000)
	equal(t, "caches", d.caches(), c.caches())
	for _, n := range c.caches() {
		for _, op := range []protocol.Op{protocol.OpGetCredList, protocol.OpGetPrincipal, protocol.OpGetKDCOffset, protocol.OpGetCredUUIDList} {
			equal(t, fmt.Sprint(op, " of ", n), d.must(op, name(n)), c.must(op, name(n)))
		}
	}
	if got := d.defaultName(); got != "1000:b" {
		t.Errorf("the default is %s", got)
	}
	other.checkStore(1000)
	if imported, present, _, err := other.arrive(records); imported != 0 || present != 2 || err != nil {
		t.Errorf("once more: %d, %d, %v", imported, present, err)
	}
	if nobody, err := r.leave(4711); err != nil || len(nobody) != 0 {
		t.Errorf("a user without caches: %d bytes, %v", len(nobody), err)
	}
}

// TestWhatArrivesIsLookedAt has records that another user's caches, or nonsense,
// hide in.
func TestWhatArrivesIsLookedAt(t *testing.T) {
	r, other := newRig(t, nil), newRig(t, nil)
	r.client(1001).login("1001", "eve")
	foreign, err := r.leave(1001)
	if err != nil {
		t.Fatal(err)
	}
	if imported, _, problems, err := other.arrive(foreign); imported != 0 || err != nil || !strings.Contains(fmt.Sprint(problems), "belongs to another user") {
		t.Errorf("%d, %v, %v", imported, problems, err)
	}
	nonsense := archive.AppendRecord(nil, archive.Record{Key: "imported", Value: []byte("x")})
	nonsense = archive.AppendRecord(nonsense, archive.Record{Key: "default", Value: []byte("short")})
	if imported, _, problems, err := other.arrive(nonsense); imported != 0 || len(problems) != 1 || err != nil {
		t.Errorf("%d, %v, %v", imported, problems, err)
	}
	if _, _, _, err := other.arrive(foreign[:len(foreign)-1]); err == nil {
		t.Error("half a record is taken")
	}
	ctx := context.Background()
	for what, args := range map[string][]any{
		"a piece of the middle": {uint32(1000), uint64(7), []byte("x"), true},
		"after another's":       {uint32(1002), uint64(1), []byte("x"), true},
	} {
		if _, err := other.server.Call(ctx, importRecords, []any{uint32(1000), uint64(0), []byte("y"), false}); err != nil {
			t.Fatal(err)
		}
		if _, err := other.server.Call(ctx, importRecords, args); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	if _, err := other.server.Call(ctx, exportRecords, []any{uint32(1000), uint64(5)}); err == nil {
		t.Error("an export begins in the middle")
	}
}

// TestArchivesThatWereImportedAreKnown, the latest of them, also beside SSSD's
// database.
func TestArchivesThatWereImportedAreKnown(t *testing.T) {
	r, ctx := newRig(t, nil), context.Background()
	id := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, archive.IDSize) }
	for i := range maxKnown + 2 {
		for range 2 {
			if _, err := r.server.Call(ctx, setArchive, []any{id(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.start(nil)
	var known []int
	for i := range maxKnown + 3 {
		if result, err := r.server.Call(ctx, wasArchive, []any{id(i)}); err != nil {
			t.Fatal(err)
		} else if result[0] == true {
			known = append(known, i)
		}
	}
	if len(known) != maxKnown || known[0] != 2 || !slices.IsSorted(known) {
		t.Errorf("known are %v", known)
	}
	if _, err := r.server.Call(ctx, setArchive, []any{[]byte("short")}); err == nil {
		t.Error("an ID that is too short is taken")
	}
}

// TestACacheOfALoginSessionArrivesWithoutIt, since that session is of the other
// host; nobody there would keep the tickets.
func TestACacheOfALoginSessionArrivesWithoutIt(t *testing.T) {
	r, other := newRig(t, nil), newRig(t, nil)
	r.client(1000).login("1000:b", "bob")
	session := sessionNamed("c12")
	err := r.server.users.of(1000).apply(context.Background(), func(e *edit) error {
		c := e.byName([]byte("1000:b")).copy()
		c.session = &session
		e.caches = []*cache{c}
		e.header(c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	records, err := r.leave(1000)
	if err != nil {
		t.Fatal(err)
	}
	if old, _, err := arrived(1000, records); err != nil || old.caches[0].session != nil {
		t.Fatalf("%+v, %v", old, err)
	}
	if imported, _, problems, err := other.arrive(records); imported != 1 || len(problems) != 0 || err != nil {
		t.Fatalf("%d, %v, %v", imported, problems, err)
	}
	other.start(nil) // so that the store is read
	if got := other.client(1000).caches(); len(got) != 1 {
		t.Errorf("the caches are %v", got)
	}
	err = other.server.inspect(context.Background(), other.server.users.of(1000), func(s *state) error {
		if c := s.byName([]byte("1000:b")); c == nil || c.session != nil {
			t.Errorf("%+v", c)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTravellersTakeBoundedMemory and none after two looks at one that has
// stopped.
func TestTravellersTakeBoundedMemory(t *testing.T) {
	r, ctx := newRig(t, nil), context.Background()
	r.client(1000).login("1000", "alice")
	records, err := r.leave(1000)
	if err != nil {
		t.Fatal(err)
	}
	r.server.travelLimit = uint64(len(records)) - 20 // a record's head is not counted
	if _, err := r.leave(1000); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an export of too much: %v", err)
	}
	if _, _, _, err := r.arrive(records); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an import of too much: %v", err)
	}
	half := []any{uint32(1000), uint64(0), records[:10], false}
	if _, err := r.server.Call(ctx, importRecords, half); err != nil {
		t.Fatal(err)
	}
	r.server.forgetTraveller()
	if r.server.traveller.records == nil {
		t.Error("the records of a moment ago are forgotten")
	}
	r.server.forgetTraveller()
	if r.server.traveller.records != nil {
		t.Error("the records stay")
	}
}
