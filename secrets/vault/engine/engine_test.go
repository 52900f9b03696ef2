package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

func testOptions() Options {
	return Options{OwnerUID: uint32(os.Geteuid()), LockTimeout: 2 * time.Second, NoSync: true}
}

func newEngine(t testing.TB, opts Options) *Engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	if err := Create(path, opts, func(*Draft, []byte) error { return nil }); err != nil {
		t.Fatal(err)
	}
	return open(t, path, opts)
}

func open(t testing.TB, path string, opts Options) *Engine {
	t.Helper()
	e, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func put(t testing.TB, e *Engine, alone bool, records map[string]string) {
	t.Helper()
	err := e.Update(alone, func(d *Draft) error {
		for name, value := range records {
			if value == "" {
				d.Put("b", []byte(name), nil)
			} else {
				d.Put("b", []byte(name), []byte(value))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sameAs compares everything a view shows with a map.
func sameAs(t *testing.T, e *Engine, model map[string]string, from string) {
	t.Helper()
	err := e.View(func(v *View) error {
		groups := map[string]bool{}
		for name, value := range model {
			groups[name[:GroupLen]] = true
			if got := v.Get("b", []byte(name)); string(got) != value {
				t.Errorf("%s is %q, want %q", name, got, value)
			}
		}
		var shown []string
		for _, g := range v.Groups("b") {
			shown = append(shown, string(g))
			var expected, got []string
			for name := range model {
				if name[:GroupLen] == string(g) && name >= from {
					expected = append(expected, name)
				}
			}
			slices.Sort(expected)
			err := v.Each("b", g, []byte(from), func(name, value []byte) error {
				got = append(got, string(name))
				if string(value) != model[string(name)] {
					t.Errorf("%s is %q, want %q", name, value, model[string(name)])
				}
				return nil
			})
			if err != nil || !slices.Equal(got, expected) {
				t.Errorf("group %s from %s has %v, want %v, %v", g, from, got, expected, err)
			}
		}
		if expected := slices.Sorted(maps.Keys(groups)); !slices.Equal(shown, expected) {
			t.Errorf("groups %v, want %v", shown, expected)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAViewShowsJournalAndDatabaseAsOne makes changes at random to an engine
// whose journal is brought in all the time, and to a map.
func TestAViewShowsJournalAndDatabaseAsOne(t *testing.T) {
	opts := testOptions()
	opts.JournalSize = 8 << 10
	e := newEngine(t, opts)
	random := rand.New(rand.NewPCG(1, 2))
	model := map[string]string{}
	for round := range 2000 {
		changes := map[string]string{}
		for range 1 + random.IntN(3) {
			name := fmt.Sprintf("grp%d name %d", random.IntN(3), random.IntN(8))
			if random.IntN(3) == 0 {
				changes[name] = ""
				delete(model, name)
			} else {
				changes[name] = fmt.Sprint(round, string(bytes.Repeat([]byte("x"), random.IntN(900))))
				model[name] = changes[name]
			}
		}
		put(t, e, random.IntN(50) == 0, changes)
		if round%211 == 0 {
			end := (*Engine).Close
			if round%2 == 0 {
				end = (*Engine).Abandon
			}
			if err := end(e); err != nil {
				t.Fatal(err)
			}
			e = open(t, e.Path(), opts)
		}
		sameAs(t, e, model, fmt.Sprintf("grp1 name %d", random.IntN(8)))
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// TestTheJournalIsBroughtInByPieces: what waits for a piece waits for a small
// one, and what was changed again is not written twice.
func TestTheJournalIsBroughtInByPieces(t *testing.T) {
	for what, c := range map[string]struct {
		groups      int
		least, most int // pieces
	}{
		"records of many groups":        {groups: 1000, least: 20, most: 200},
		"the same records again, often": {groups: 10, least: 1, most: 4},
	} {
		e := newEngine(t, testOptions())
		e.end() // nobody else brings anything in
		defer e.abandon()
		model := map[string]string{"grp0 first": "x"}
		put(t, e, false, model)
		for n := 0; e.journal.used < e.journal.size/2; n++ {
			name := fmt.Sprintf("%04d record", n%c.groups)
			model[name] = fmt.Sprint(n)
			put(t, e, false, map[string]string{name: model[name]})
		}
		pieces := 0
		for left := len(e.journal.entries); left > 0; pieces++ {
			if err := e.storePiece(); err != nil {
				t.Fatal(err)
			}
			now := len(e.journal.entries)
			if now >= left {
				t.Fatalf("%s: %d entries became %d", what, left, now)
			}
			left = now
			sameAs(t, e, model, "")
		}
		if pieces < c.least || pieces > c.most {
			t.Errorf("%s: %d entries came in %d pieces", what, len(model), pieces)
		}
	}
}

// TestChangesGoOnWhileTheJournalIsBroughtIn: a change does not wait for the
// database.
func TestChangesGoOnWhileTheJournalIsBroughtIn(t *testing.T) {
	e := newEngine(t, testOptions())
	put(t, e, false, map[string]string{"grp0 first": "x"})
	e.storing.Lock() // as if a transaction were under way
	defer e.storing.Unlock()
	for i := range 100 {
		put(t, e, false, map[string]string{fmt.Sprint("grp0 ", i): "x"})
	}
	sameAs(t, e, func() map[string]string {
		model := map[string]string{"grp0 first": "x"}
		for i := range 100 {
			model[fmt.Sprint("grp0 ", i)] = "x"
		}
		return model
	}(), "")
}

func TestChangesAreSorted(t *testing.T) {
	c := changes{}
	for i := range 1000 {
		c.set(fmt.Sprint("bucket ", i%3), fmt.Appendf(nil, "%08d", (i*7919)%1000), []byte("x"))
	}
	all := c.sorted()
	if len(all) != 1000 {
		t.Fatalf("%d of 1000", len(all))
	}
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if a.group.bucket > b.group.bucket || a.group.bucket == b.group.bucket && a.name >= b.name {
			t.Fatalf("%v comes before %v", a, b)
		}
	}
}

func TestReadersAndAWriterDoNotDisturbEachOther(t *testing.T) {
	opts := testOptions()
	opts.JournalSize = 16 << 10
	e := newEngine(t, opts)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				err := e.View(func(v *View) error {
					a, b := v.Get("b", []byte("grp0 a")), v.Get("b", []byte("grp9 b"))
					if !bytes.Equal(a, b) {
						return errors.New("half a change is seen")
					}
					return nil
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3000 {
		put(t, e, i%500 == 499, map[string]string{"grp0 a": fmt.Sprint(i), "grp9 b": fmt.Sprint(i)})
	}
	close(stop)
	readers.Wait()
}

// TestAJournalOfTheVersionBeforeIsRead: that wrote the short form of the
// position always, and its entries from the front of the file.
func TestAJournalOfTheVersionBeforeIsRead(t *testing.T) {
	e := newEngine(t, testOptions())
	model := map[string]string{}
	for i := range 5 {
		name := fmt.Sprint("grp0 ", i)
		model[name] = "x"
		put(t, e, false, map[string]string{name: "x"})
	}
	salt, generation := e.salt, e.journal.at.generation
	if err := e.Abandon(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(e.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(Head)).Put([]byte(positionName), position{generation: generation}.encode(salt))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		e = open(t, e.path, testOptions())
		sameAs(t, e, model, "")
		put(t, e, false, map[string]string{"grp0 new": "x"})
		model["grp0 new"] = "x"
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAClosedFileHasTheShortForm: a version before this one can open it.
func TestAClosedFileHasTheShortForm(t *testing.T) {
	e := newEngine(t, testOptions())
	put(t, e, false, map[string]string{"grp0 a": "x"})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, e.path, testOptions())
	if err := e.View(func(v *View) error {
		if b := v.Get(Head, []byte(positionName)); len(b) != closedLen+journalSum {
			t.Errorf("the position has %d bytes", len(b))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
