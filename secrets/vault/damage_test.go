package vault

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
)

// specimen is a vault on disk and what is in it.
type specimen struct {
	dir     string
	file    []byte
	records map[ownerID]map[string][]byte
}

// newSpecimen makes a vault of some dozens of records of several owners, some of
// them large, with free pages between them.
func newSpecimen(t testing.TB) *specimen {
	t.Helper()
	s := &specimen{dir: t.TempDir(), records: map[ownerID]map[string][]byte{}}
	random := rand.New(rand.NewPCG(1, 2))
	v := openTest(t, s.dir, unsynced())
	for i := range 6 {
		id := ownerID{[]string{"kcm", "secrets"}[i%2], uint32(1000 + i/2)}
		s.records[id] = map[string][]byte{}
		for n := range 12 {
			size := random.IntN(300)
			if n == 0 {
				size = 6000
			}
			s.records[id][fmt.Sprintf("key %d", n)] = bytes.Repeat([]byte{byte(i), byte(n)}, size/2)
		}
		commit(t, v.Hive(id.hive), id.uid, s.records[id])
		gone := map[string][]byte{"key 1": nil, "key 0": []byte("short now")}
		commit(t, v.Hive(id.hive), id.uid, gone)
		delete(s.records[id], "key 1")
		s.records[id]["key 0"] = gone["key 0"]
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.file, err = os.ReadFile(filepath.Join(s.dir, "secrets.db")); err != nil {
		t.Fatal(err)
	}
	return s
}

// unsynced opens vaults quickly, for tests in which nothing crashes.
func unsynced() Options {
	opts := testOptions()
	opts.noSync = true
	return opts
}

// outcome tells what became of a damaged vault.
type outcome struct{ refused, noticed, unharmed int }

// try opens the vault with other bytes in its file, and without the journal that
// the try before it left. Everything that can be read must be what was written,
// in every way of reading it.
func (s *specimen) try(t *testing.T, what string, file []byte, seen *outcome) {
	t.Helper()
	path := filepath.Join(s.dir, "secrets.db")
	if err := os.RemoveAll(path + journalSuffix); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := Open(s.dir, unsynced())
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrKey) {
			t.Errorf("%s: opening fails with %v", what, err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(after, file) {
			t.Errorf("%s: a file that was refused was changed", what)
		}
		seen.refused++
		return
	}
	defer v.Close()
	if s.readAll(t, what, v) {
		seen.noticed++
	} else {
		seen.unharmed++
	}
	// Writing must not crash either, nor hide the damage.
	for id := range s.records {
		if err := v.Hive(id.hive).Commit(ctx, id.uid, map[string][]byte{"new": []byte("new")}); err == nil {
			err := v.Hive(id.hive).Commit(ctx, id.uid, map[string][]byte{"new": nil})
			if err != nil && !errors.Is(err, ErrDamaged) {
				t.Errorf("%s: a change of uid %d fails with %v", what, id.uid, err)
			}
		}
	}
	s.readAll(t, what, v)
}

// readAll reports whether anything was noticed.
func (s *specimen) readAll(t *testing.T, what string, v *Vault) (noticed bool) {
	t.Helper()
	check := func(err error) bool {
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: reading fails with %v", what, err)
		}
		noticed = noticed || err != nil
		return err == nil
	}
	for id, records := range s.records {
		h := v.Hive(id.hive)
		if all, err := h.Load(ctx, id.uid); check(err) && !sameRecords(all, records) {
			t.Errorf("%s: uid %d in %s reads as something else", what, id.uid, id.hive)
		}
		for _, key := range []string{"key 0", "key 1", "key 2", "key 11"} {
			if value, err := h.Get(ctx, id.uid, key); check(err) && (!bytes.Equal(value, records[key]) || (value == nil) != (records[key] == nil)) {
				t.Errorf("%s: %s of uid %d in %s reads as something else", what, key, id.uid, id.hive)
			}
		}
	}
	for _, hive := range []string{"kcm", "secrets"} {
		if owners, err := v.Hive(hive).Owners(ctx); check(err) && len(owners) != 3 {
			t.Errorf("%s: owners of %s are %v", what, hive, owners)
		}
	}
	return noticed
}

func sameRecords(a, b map[string][]byte) bool {
	for key, value := range a {
		if other, found := b[key]; !found || !bytes.Equal(value, other) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestAFlippedBitIsNeverReadAsSomethingElse(t *testing.T) {
	s := newSpecimen(t)
	random := rand.New(rand.NewPCG(3, 4))
	var seen outcome
	for range 1000 {
		bit := random.IntN(len(s.file) * 8)
		file := bytes.Clone(s.file)
		file[bit/8] ^= 1 << (bit % 8)
		s.try(t, fmt.Sprintf("bit %d of byte %#x", bit%8, bit/8), file, &seen)
	}
	t.Logf("of 1000 flipped bits in %d bytes: %+v", len(s.file), seen)
	if seen.refused == 0 || seen.noticed == 0 || seen.unharmed == 0 {
		t.Errorf("the bits flipped do not cover the file: %+v", seen)
	}
}

// The structure of the file is in the first bytes of its pages.
func TestFlippedBitsInTheStructureAreNoticed(t *testing.T) {
	s := newSpecimen(t)
	var seen outcome
	page := os.Getpagesize()
	for at := 0; at < len(s.file); at += page {
		for i := range 12 {
			file := bytes.Clone(s.file)
			file[at+i*5] ^= 1 << (i % 8)
			s.try(t, fmt.Sprintf("page %d byte %d", at/page, i*5), file, &seen)
		}
	}
	t.Logf("%+v", seen)
}

func TestATruncatedFileIsNeverReadAsSomethingElse(t *testing.T) {
	s := newSpecimen(t)
	random := rand.New(rand.NewPCG(5, 6))
	var seen outcome
	for range 100 {
		size := random.IntN(len(s.file))
		s.try(t, fmt.Sprintf("truncated to %d of %d bytes", size, len(s.file)), s.file[:size], &seen)
	}
	s.try(t, "an empty file", nil, &seen)
	t.Logf("of 101 truncated files: %+v", seen)
}

func TestZeroedPagesAreNeverReadAsSomethingElse(t *testing.T) {
	s := newSpecimen(t)
	var seen outcome
	page := os.Getpagesize()
	for at := 0; at < len(s.file); at += page {
		file := bytes.Clone(s.file)
		clear(file[at : at+page])
		s.try(t, fmt.Sprintf("page %d zeroed", at/page), file, &seen)
	}
	t.Logf("%+v", seen)
}

func TestForeignFilesAreRefused(t *testing.T) {
	s := newSpecimen(t)
	foreign := filepath.Join(t.TempDir(), "foreign.db")
	db, err := bbolt.Open(foreign, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	database, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string][]byte{
		"text":                   []byte("some text\n"),
		"random bytes":           bytes.Repeat([]byte("\xa5\x17\x00\xff"), 5000),
		"another bbolt database": database,
		"a tdb file":             append([]byte("TDB file\n"), make([]byte, 9000)...),
	} {
		var seen outcome
		if s.try(t, name, file, &seen); seen.refused != 1 {
			t.Errorf("%s: %+v", name, seen)
		}
	}
}

// swap exchanges the values of two records in the file.
func swap(t *testing.T, path string, a, b ownerID) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		first := func(id ownerID, skip int) (*bbolt.Bucket, []byte, []byte) {
			bucket := tx.Bucket([]byte(hiveBucket(id.hive)))
			cursor := bucket.Cursor()
			name, value := cursor.Seek(ownerName(id.uid))
			for range skip {
				name, value = cursor.Next()
			}
			return bucket, bytes.Clone(name), bytes.Clone(value)
		}
		bucketA, nameA, valueA := first(a, 1)
		bucketB, nameB, valueB := first(b, 2)
		return errors.Join(bucketA.Put(nameA, valueB), bucketB.Put(nameB, valueA))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// remove deletes one record of an owner from the file.
func remove(t *testing.T, path string, id ownerID) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(hiveBucket(id.hive)))
		cursor := bucket.Cursor()
		cursor.Seek(ownerName(id.uid))
		name, _ := cursor.Next()
		return bucket.Delete(bytes.Clone(name))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestSwappedRecordsDoNotOpen(t *testing.T) {
	for name, places := range map[string][2]ownerID{
		"within one owner":      {{"kcm", 1000}, {"kcm", 1000}},
		"between two owners":    {{"kcm", 1000}, {"kcm", 1001}},
		"between the two hives": {{"kcm", 1000}, {"secrets", 1000}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSpecimen(t)
			path := filepath.Join(s.dir, "secrets.db")
			swap(t, path, places[0], places[1])
			v := openTest(t, s.dir, unsynced())
			if !s.readAll(t, name, v) {
				t.Error("nothing was noticed")
			}
			for _, id := range slices.Compact(places[:]) {
				if _, err := v.Hive(id.hive).Load(ctx, id.uid); !errors.Is(err, ErrDamaged) {
					t.Errorf("uid %d: %v", id.uid, err)
				}
				if err := v.Hive(id.hive).Commit(ctx, id.uid, map[string][]byte{"x": {}}); !errors.Is(err, ErrDamaged) {
					t.Errorf("a change of uid %d: %v", id.uid, err)
				}
				if err := v.Hive(id.hive).Discard(ctx, id.uid); err != nil {
					t.Error(err)
				}
				want(t, v.Hive(id.hive), id.uid, map[string]string{})
			}
			other := ownerID{"kcm", 1002}
			if all, err := v.Hive("kcm").Load(ctx, 1002); err != nil || !sameRecords(all, s.records[other]) {
				t.Errorf("others are affected: %v", err)
			}
			v.Close()
			openTest(t, s.dir, unsynced()) // the sums are right again
		})
	}
}

func TestARecordPutBackToAnOlderStateIsNoticed(t *testing.T) {
	s := newSpecimen(t)
	path := filepath.Join(s.dir, "secrets.db")
	id := ownerID{"kcm", 1000}
	record := func(put []byte) (old []byte) {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			cursor := tx.Bucket([]byte(hiveBucket(id.hive))).Cursor()
			cursor.Seek(ownerName(id.uid))
			name, value := cursor.Next()
			old = bytes.Clone(value)
			if put == nil {
				return nil
			}
			return tx.Bucket([]byte(hiveBucket(id.hive))).Put(bytes.Clone(name), put)
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		return old
	}
	old := record(nil)
	v := openTest(t, s.dir, unsynced())
	again := map[string][]byte{}
	for key := range s.records[id] {
		again[key] = []byte("newer")
	}
	commit(t, v.Hive(id.hive), id.uid, again)
	v.Close()
	record(old)
	v = openTest(t, s.dir, unsynced())
	if _, err := v.Hive(id.hive).Load(ctx, id.uid); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v", err)
	}
}

func TestDamageWhileTheVaultIsOpenIsAnError(t *testing.T) {
	s := newSpecimen(t)
	path := filepath.Join(s.dir, "secrets.db")
	v := openTest(t, s.dir, unsynced())
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Hive("kcm").Load(ctx, 1000); !errors.Is(err, ErrDamaged) {
		t.Errorf("reading: %v", err)
	}
	if err := v.Hive("kcm").Commit(ctx, 1000, map[string][]byte{"x": {}}); err == nil {
		t.Error("a change succeeded")
	}
	if err := os.WriteFile(path, s.file, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.readAll(t, "restored", v) {
		t.Error("the restored file is not read")
	}
}
