package vault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// inUse makes a vault with a record in the database and one in the journal.
func inUse(t *testing.T) (dir string, v *Vault) {
	t.Helper()
	dir = t.TempDir()
	v = openTest(t, dir, unsynced())
	commit(t, v.Hive("kcm"), 1, map[string][]byte{"a": []byte("1")})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = openTest(t, dir, unsynced())
	commit(t, v.Hive("kcm"), 1, map[string][]byte{"b": []byte("2")})
	return dir, v
}

var bothRecords = map[string]string{"a": "1", "b": "2"}

func TestADatabaseThatIsGoneIsSaidAndNotMadeAnew(t *testing.T) {
	for name, c := range map[string]struct{ away, back func(dir string) error }{
		"removed": {
			away: func(dir string) error {
				return os.Rename(filepath.Join(dir, "secrets.db"), filepath.Join(dir, "elsewhere"))
			},
			back: func(dir string) error {
				return os.Rename(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "secrets.db"))
			},
		},
		"its directory unmounted": {
			away: func(dir string) error { return errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o700)) },
			back: func(dir string) error { return errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, v := inUse(t)
			h := v.Hive("kcm")
			if err := c.away(dir); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := h.Commit(ctx, 1, map[string][]byte{"c": []byte("3")}); !errors.Is(err, ErrGone) {
					t.Errorf("a change: %v", err)
				}
				want(t, h, 1, bothRecords)
			}
			for _, made := range []string{"secrets.db", ".secrets.mkey.new"} {
				if _, err := os.Lstat(filepath.Join(dir, made)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s was made: %v", made, err)
				}
			}
			if err := c.back(dir); err != nil {
				t.Fatal(err)
			}
			commit(t, h, 1, map[string][]byte{"c": []byte("3")})
			want(t, h, 1, map[string]string{"a": "1", "b": "2", "c": "3"})
		})
	}
}

func TestAReopenNeverMakesAVault(t *testing.T) {
	dir, v := inUse(t)
	v.drop(v.file, errors.New("a failed write"))
	if err := errors.Join(os.Rename(dir, dir+".away"), os.Mkdir(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := v.Hive("kcm").Load(ctx, 1); !errors.Is(err, ErrGone) {
			t.Errorf("reading: %v", err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v was made, %v", entries, err)
	}
	if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
		t.Fatal(err)
	}
	want(t, v.Hive("kcm"), 1, bothRecords)
}

// TestADatabaseThatWasReplacedIsOpenedAgain: what is put in its place is
// checked, and is served if it is right.
func TestADatabaseThatWasReplacedIsOpenedAgain(t *testing.T) {
	for name, put := range map[string]func(path string, data []byte) error{
		"by another file": func(path string, data []byte) error {
			return errors.Join(os.WriteFile(path+"2", data, 0o600), os.Rename(path+"2", path))
		},
		"in place": func(path string, data []byte) error { return os.WriteFile(path, data, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, v := inUse(t)
			path := filepath.Join(dir, "secrets.db")
			if err := v.Close(); err != nil {
				t.Fatal(err)
			}
			backup, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			v = openTest(t, dir, unsynced())
			h := v.Hive("kcm")
			commit(t, h, 1, map[string][]byte{"late": []byte("3")})
			if err := put(path, []byte("no database at all")); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := h.Commit(ctx, 1, map[string][]byte{"c": []byte("3")}); !errors.Is(err, ErrDamaged) {
					t.Errorf("a change of a spoilt file: %v", err)
				}
			}
			if err := put(path, backup); err != nil {
				t.Fatal(err)
			}
			want(t, h, 1, bothRecords)
			commit(t, h, 1, map[string][]byte{"c": []byte("3")})
			want(t, h, 1, map[string]string{"a": "1", "b": "2", "c": "3"})
		})
	}
}

// TestAFileThatFaultedIsGivenUp: the lock on a file whose mapping is lost must
// not outlive its use.
func TestAFileThatFaultedIsGivenUp(t *testing.T) {
	s := newSpecimen(t)
	v := openTest(t, s.dir, unsynced())
	path := filepath.Join(s.dir, "secrets.db")
	// Overwritten with what has the same size, so that nothing but reading shows it.
	if err := os.WriteFile(path, make([]byte, len(s.file)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Hive("kcm").Load(ctx, 1000); !errors.Is(err, ErrDamaged) {
		t.Errorf("reading: %v", err)
	}
	if _, err := v.Hive("kcm").Load(ctx, 1000); errors.Is(err, ErrInUse) {
		t.Errorf("opening again: %v", err)
	}
	if err := os.WriteFile(path, s.file, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.readAll(t, "restored", v) {
		t.Error("the restored file is not read")
	}
}

func TestAJournalThatIsGoneIsMadeAgainFromMemory(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"removed":   os.Remove,
		"cut short": func(path string) error { return os.Truncate(path, 100) },
		"replaced": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte("other"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, v := inUse(t)
			if err := spoil(filepath.Join(dir, "secrets.db.journal")); err != nil {
				t.Fatal(err)
			}
			commit(t, v.Hive("kcm"), 1, map[string][]byte{"c": []byte("3")})
			expected := map[string]string{"a": "1", "b": "2", "c": "3"}
			want(t, v.Hive("kcm"), 1, expected)
			if err := v.file.store.Abandon(); err != nil { // as a crash would leave it
				t.Fatal(err)
			}
			want(t, openTest(t, dir, unsynced()).Hive("kcm"), 1, expected)
		})
	}
}

func TestAMissingJournalIsDamage(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"missing":   nil,
		"empty":     func([]byte) []byte { return nil },
		"cut short": func(b []byte) []byte { return b[:len(b)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			dir := abandoned(t, 3)
			path := filepath.Join(dir, "secrets.db.journal")
			if spoil == nil {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			} else {
				spoilJournal(t, path, spoil)
			}
			for range 2 {
				if _, err := Open(dir, unsynced()); !errors.Is(err, ErrDamaged) {
					t.Errorf("error %v", err)
				}
			}
			if err := os.WriteFile(path, []byte("lost\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			v := openTest(t, dir, unsynced())
			if n := numbers(t, v); n != 0 {
				t.Errorf("%d changes are there", n)
			}
			commit(t, v.Hive("kcm"), 1, map[string][]byte{"number 0": []byte("works")})
			if err := v.file.store.Abandon(); err != nil {
				t.Fatal(err)
			}
			if n := numbers(t, openTest(t, dir, unsynced())); n != 1 {
				t.Errorf("%d changes are there after another crash", n)
			}
		})
	}
}

func spoilJournal(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAnyDirectoryWillDo: its name is a name, and no pattern.
func TestAnyDirectoryWillDo(t *testing.T) {
	for _, name := range []string{"[", "a[b", "*", "?", `\`, "{a,b}", "a b", "%s"} {
		dir := filepath.Join(t.TempDir(), name)
		for round := range 2 {
			v, err := Open(dir, unsynced())
			if err != nil {
				t.Errorf("%q: %v", name, err)
				break
			}
			commit(t, v.Hive("kcm"), 1, map[string][]byte{fmt.Sprint(round): []byte("x")})
			if err := v.Close(); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}
