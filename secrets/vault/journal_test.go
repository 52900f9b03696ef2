package vault

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// abandoned makes a vault with a change in the database and some in the
// journal, and leaves it as a killed process would.
func abandoned(t *testing.T, inJournal int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	v := openTest(t, dir, unsynced())
	commit(t, v.Hive("kcm"), 1, map[string][]byte{"in": []byte("the database")})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = openTest(t, dir, unsynced())
	for i := range inJournal {
		commit(t, v.Hive("kcm"), 1, map[string][]byte{fmt.Sprint("number ", i): bytes.Repeat([]byte{byte(i)}, 300*i)})
	}
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"secrets.db", "secrets.db.journal", ".secrets.mkey"} {
		if err := os.Chmod(filepath.Join(copied, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

// spoil changes the journal of an abandoned vault.
func spoil(t *testing.T, dir string, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, "secrets.db.journal")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func numbers(t *testing.T, v *Vault) int {
	t.Helper()
	all := load(t, v.Hive("kcm"), 1)
	if all["in"] != "the database" {
		t.Error("what was in the database is gone")
	}
	return len(all) - 1
}

// What the tests know of the journal's form (engine/journal.go).
const (
	journalSuffix = ".journal"
	journalAlign  = 512
	journalMagic  = "gvj1"
	journalHeader = 36
)

// second is where the second entry of abandoned begins.
const second = journalAlign

func TestAJournalIsBroughtIntoTheDatabase(t *testing.T) {
	dir := abandoned(t, 5)
	for range 2 {
		v := openTest(t, dir, unsynced())
		if n := numbers(t, v); n != 5 {
			t.Errorf("%d of 5 changes are there", n)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	spoil(t, dir, func(_ []byte) []byte { return nil })
	if v := openTest(t, dir, unsynced()); numbers(t, v) != 5 {
		t.Error("an emptied journal takes changes back")
	}
}

func TestATornEntryIsLeftOut(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"the last is half written": func(b []byte) []byte {
			clear(b[lastEntry(b)+60:])
			return b
		},
		"a byte of the last is not": func(b []byte) []byte {
			b[lastEntry(b)+100] ^= 1
			return b
		},
		"its header is not": func(b []byte) []byte {
			b[lastEntry(b)] ^= 1
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := abandoned(t, 5)
			spoil(t, dir, change)
			v := openTest(t, dir, unsynced())
			if n := numbers(t, v); n != 4 {
				t.Errorf("%d of 4 changes are there", n)
			}
			commit(t, v.Hive("kcm"), 1, map[string][]byte{"next": []byte("works")})
		})
	}
}

func lastEntry(b []byte) int { return bytes.LastIndex(b, []byte(journalMagic)) }

func TestADamagedJournalIsRefused(t *testing.T) {
	dir := abandoned(t, 5)
	spoil(t, dir, func(b []byte) []byte {
		b[second+journalHeader+4] ^= 1
		return b
	})
	before, err := os.ReadFile(filepath.Join(dir, "secrets.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, unsynced()); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v", err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "secrets.db"))
	if err != nil || !bytes.Equal(after, before) {
		t.Errorf("the database was changed, %v", err)
	}
}

// TestAFlippedBitInTheJournalIsNeverReadAsSomethingElse: the last entry may be
// taken for one that was not written whole.
func TestAFlippedBitInTheJournalIsNeverReadAsSomethingElse(t *testing.T) {
	dir := abandoned(t, 5)
	database, err := os.ReadFile(filepath.Join(dir, "secrets.db"))
	if err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(filepath.Join(dir, "secrets.db.journal"))
	if err != nil {
		t.Fatal(err)
	}
	last := lastEntry(journal)
	random := rand.New(rand.NewPCG(7, 8))
	var refused, shorter, unharmed int
	for range 300 {
		bit := random.IntN((last + 2*journalAlign) * 8)
		if err := os.WriteFile(filepath.Join(dir, "secrets.db"), database, 0o600); err != nil {
			t.Fatal(err)
		}
		spoil(t, dir, func([]byte) []byte {
			b := bytes.Clone(journal)
			b[bit/8] ^= 1 << (bit % 8)
			return b
		})
		v, err := Open(dir, unsynced())
		if errors.Is(err, ErrDamaged) {
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		all := load(t, v.Hive("kcm"), 1)
		for i := range len(all) - 1 {
			if all[fmt.Sprint("number ", i)] != string(bytes.Repeat([]byte{byte(i)}, 300*i)) {
				t.Errorf("bit %d: change %d reads as something else", bit, i)
			}
		}
		switch {
		case len(all) == 6:
			unharmed++
		case len(all) == 5 && bit/8 >= last:
			shorter++
		default:
			t.Errorf("bit %d: %d of 5 changes are there", bit, len(all)-1)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("of 300 flipped bits: %d refused, %d without the last change, %d unharmed", refused, shorter, unharmed)
	if refused == 0 || shorter == 0 || unharmed == 0 {
		t.Error("the bits flipped do not cover the journal")
	}
}

func TestAJournalOfAnotherTimeIsIgnored(t *testing.T) {
	dir := abandoned(t, 5)
	old, err := os.ReadFile(filepath.Join(dir, "secrets.db.journal"))
	if err != nil {
		t.Fatal(err)
	}
	v := openTest(t, dir, unsynced())
	commit(t, v.Hive("kcm"), 1, map[string][]byte{"number 0": nil, "number 1": nil})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, dir, func([]byte) []byte { return old })
	if v := openTest(t, dir, unsynced()); numbers(t, v) != 3 {
		t.Errorf("%d of 3 changes are there", numbers(t, v))
	}
}

// TestReadersSeeTheJournalAndTheDatabaseAsOne makes changes at random to a
// vault whose journal is often full, and to a map.
func TestReadersSeeTheJournalAndTheDatabaseAsOne(t *testing.T) {
	opts := unsynced()
	opts.journalSize = 8 << 10
	dir := t.TempDir()
	v := openTest(t, dir, opts)
	random := rand.New(rand.NewPCG(3, 4))
	model := map[uint32]map[string]string{}
	for round := range 1500 {
		uid, key := uint32(random.IntN(4)), fmt.Sprint("key ", random.IntN(6))
		if model[uid] == nil {
			model[uid] = map[string]string{}
		}
		switch random.IntN(8) {
		case 0:
			if err := v.Hive("kcm").Discard(ctx, uid); err != nil {
				t.Fatal(err)
			}
			clear(model[uid])
		case 1, 2, 3:
			commit(t, v.Hive("kcm"), uid, map[string][]byte{key: nil})
			delete(model[uid], key)
		default:
			value := bytes.Repeat([]byte("v"), random.IntN(900))
			commit(t, v.Hive("kcm"), uid, map[string][]byte{key: value})
			model[uid][key] = string(value)
		}
		if round%97 == 0 {
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			v = openTest(t, dir, opts)
		}
		sameAsModel(t, v, model)
	}
}

func sameAsModel(t *testing.T, v *Vault, model map[uint32]map[string]string) {
	t.Helper()
	var owners []uint32
	for uid := range uint32(4) {
		if all := load(t, v.Hive("kcm"), uid); !maps.Equal(all, model[uid]) {
			t.Fatalf("uid %d has %d records, not %d", uid, len(all), len(model[uid]))
		}
		if len(model[uid]) > 0 {
			owners = append(owners, uid)
		}
	}
	got, err := v.Hive("kcm").Owners(ctx)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(owners) {
		t.Fatalf("owners %v, want %v, %v", got, owners, err)
	}
}

// TestAJournalThatCannotBeReadIsRefused is about files that are not ours.
func TestAJournalThatCannotBeReadIsRefused(t *testing.T) {
	dir := abandoned(t, 2)
	path := filepath.Join(dir, "secrets.db.journal")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, unsynced()); err == nil {
		t.Error("a journal that others may read is used")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, unsynced()); err == nil {
		t.Error("a link is followed")
	}
}
