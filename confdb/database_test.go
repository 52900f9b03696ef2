package confdb

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gosssd/linux"
)

const databasePath = "/var/lib/sss/db/config.db"

func commit(t *testing.T, r root, text string) *Snapshot {
	t.Helper()
	r.write(t, "/etc/sssd/sssd.conf", text)
	s, err := r.good(t).Commit(r.path(databasePath))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, r root) *Snapshot {
	t.Helper()
	s, err := Open(r.path(databasePath), testSchema())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhatIsCommittedIsWhatIsOpened(t *testing.T) {
	r := newRoot(t)
	written := commit(t, r, "[KCM]\nfd_limit = 65\n[domain/Example]\nldap_uri = <é> & \u2028\n[nss]\nx = \x01\n")
	read := open(t, r)
	if !reflect.DeepEqual(written.Show(""), read.Show("")) || written.Hash != read.Hash ||
		!written.Time.Equal(read.Time) || written.Generation != read.Generation {
		t.Errorf("committed %+v\nopened %+v", written, read)
	}
	if read.Generation != 1 || len(read.Hash) != 64 || read.Section("kcm").Int("fd_limit") != 65 {
		t.Errorf("opened %+v", read)
	}
	for path, want := range map[string]os.FileMode{databasePath: 0o600, "/var/lib/sss/db": 0o700} {
		if info, err := os.Stat(r.path(path)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode is %v, want %v; %v", path, info.Mode(), want, err)
		}
	}
}

func TestTheGenerationCountsChangesOfWhatIsSet(t *testing.T) {
	r := newRoot(t)
	var first *Snapshot
	for _, step := range []struct {
		what, text string
		want       uint64
	}{
		{"the first", "[kcm]\nfd_limit = 65\n", 1},
		{"the same again", "[kcm]\nfd_limit = 65\n", 1},
		{"a comment and another order", "[sssd]\n# note\n[kcm]\nfd_limit=65\n", 2}, // [sssd] is new
		{"comments only", "# more\n[kcm]\n\nfd_limit=65\n[sssd]\n", 2},
		{"a value", "[kcm]\nfd_limit=66\n", 3},
		{"a value back", "[kcm]\nfd_limit=65\n", 4},
		{"nothing at all", "", 5},
	} {
		s := commit(t, r, step.text)
		if s.Generation != step.want || open(t, r).Generation != step.want {
			t.Errorf("%s: generation %d, want %d", step.what, s.Generation, step.want)
		}
		if first == nil {
			first = s
		} else if s.Generation == first.Generation && !s.Time.Equal(first.Time) {
			t.Errorf("%s: the time of an unchanged generation changed", step.what)
		}
	}
}

func TestOriginsFollowTheFilesWithoutANewGeneration(t *testing.T) {
	r := newRoot(t)
	commit(t, r, "[kcm]\nfd_limit = 65\n")
	commit(t, r, "# note\n[kcm]\nfd_limit = 65\n")
	for _, row := range open(t, r).Show("kcm") {
		if row.Key == "fd_limit" && !strings.HasSuffix(row.Origin, "sssd.conf:3") {
			t.Errorf("origin is %s", row.Origin)
		}
	}
}

func TestNothingInvalidIsCommitted(t *testing.T) {
	r := newRoot(t)
	commit(t, r, "[kcm]\nfd_limit = 65\n")
	r.write(t, "/etc/sssd/sssd.conf", "[kcm]\nfd_limit = none\n")
	if _, err := r.load(t).Commit(r.path(databasePath)); err == nil || !strings.Contains(err.Error(), "sssd.conf:2: [kcm] fd_limit: 'none'") {
		t.Errorf("Commit: %v", err)
	}
	if _, err := r.load(t).CommitSection(r.path(databasePath), "kcm"); err == nil {
		t.Error("CommitSection took it")
	}
	if got := open(t, r).Section("kcm").Int("fd_limit"); got != 65 {
		t.Errorf("fd_limit is %d", got)
	}
}

func TestOpeningCreatesNothing(t *testing.T) {
	r := newRoot(t)
	if _, err := Open(r.path(databasePath), testSchema()); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
		t.Errorf("Open: %v", err)
	}
	if _, err := os.Stat(r.path("/var")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Open made a directory")
	}
}

func TestADamagedDatabaseIsToldAndReplaced(t *testing.T) {
	tests := map[string]struct {
		damage func([]byte) []byte
		next   uint64 // generation after the next commit; it was 3
	}{
		"a bit is flipped": {func(data []byte) []byte { data[len(data)-3] ^= 1; return data }, 4},
		"it is cut short":  {func(data []byte) []byte { return data[:len(data)-1] }, 4},
		"it is longer":     {func(data []byte) []byte { return append(data, ' ') }, 4},
		"its generation was changed": {func(data []byte) []byte {
			return bytes.Replace(data, []byte("generation 3"), []byte("generation 8"), 1)
		}, 9},
		"its generation is beyond belief": {func(data []byte) []byte {
			return bytes.Replace(data, []byte("generation 3"), []byte("generation 9223372036854775807"), 1)
		}, 1},
		"its generation is gone":             {func(data []byte) []byte { return bytes.Replace(data, []byte("generation 3"), []byte("generation"), 1) }, 1},
		"it is of a newer format":            {func(data []byte) []byte { return bytes.Replace(data, []byte("confdb 1"), []byte("confdb 2"), 1) }, 4},
		"it is empty":                        {func([]byte) []byte { return nil }, 1},
		"it is SSSD's":                       {func([]byte) []byte { return append([]byte("TDB file\n"), make([]byte, 4096)...) }, 1},
		"it ends after its first line":       {func([]byte) []byte { return []byte(magic) }, 1},
		"a zeroed page took the end of it":   {func(data []byte) []byte { clear(data[len(data)/2:]); return data }, 4},
		"a foreign file begins like numbers": {func([]byte) []byte { return []byte("x\ngeneration 7\n") }, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRoot(t)
			for i := range 3 {
				commit(t, r, "[kcm]\nfd_limit = 6"+strconv.Itoa(5+i)+"\n")
			}
			data, err := os.ReadFile(r.path(databasePath))
			if err != nil {
				t.Fatal(err)
			}
			r.write(t, databasePath, string(test.damage(data)))
			if _, err := Open(r.path(databasePath), testSchema()); !errors.Is(err, ErrDamaged) {
				t.Errorf("Open: %v", err)
			}
			if s := commit(t, r, "[kcm]\nfd_limit = 67\n"); s.Generation != test.next {
				t.Errorf("generation %d, want %d", s.Generation, test.next)
			}
			open(t, r)
		})
	}
}

func TestAReaderChecksTheSectionsItKnows(t *testing.T) {
	r := newRoot(t)
	commit(t, r, "[kcm]\nfd_limit = 65\n[secrets]\nmax_secrets = 5\n")
	strict := Schema{{Name: "secrets", Options: []Option{{Key: "max_secrets", Kind: Int, Min: 10}}}}
	if _, err := Open(r.path(databasePath), strict); err == nil || errors.Is(err, ErrDamaged) ||
		!strings.Contains(err.Error(), "sssd.conf:4: [secrets] max_secrets: '5' is out of range") {
		t.Errorf("a value the reader does not take: %v", err)
	}
	lenient := Schema{{Name: "secrets"}}
	s, err := Open(r.path(databasePath), lenient)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Sections(""); len(got) != 2 {
		t.Errorf("sections are %q", got)
	}
}

func TestOneSectionIsReplacedAndNoOther(t *testing.T) {
	r := newRoot(t)
	commit(t, r, "[kcm]\nfd_limit = 65\n[secrets]\nmax_secrets = 5\n[nss]\nx = 1\n")
	r.write(t, "/etc/sssd/sssd.conf", "[KCM]\nfd_limit = 66\n[secrets]\nmax_secrets = 6\n")
	c := r.good(t)
	s, err := c.CommitSection(r.path(databasePath), "Kcm")
	if err != nil {
		t.Fatal(err)
	}
	if s.Generation != 2 || s.Section("kcm").Int("fd_limit") != 66 || open(t, r).Section("secrets").Int("max_secrets") != 5 {
		t.Errorf("after [kcm]: generation %d, %+v", s.Generation, s.Show(""))
	}
	if s, err = c.CommitSection(r.path(databasePath), "nss"); err != nil || len(s.Sections("nss")) != 0 || s.Generation != 3 {
		t.Errorf("a section that is no longer set stays: %+v, %v", s, err)
	}
	if _, err = c.CommitSection(r.path(databasePath), "kmc"); err == nil || !strings.Contains(err.Error(), "did you mean 'kcm'?") {
		t.Errorf("a section that does not exist: %v", err)
	}
	if s, err = c.Commit(r.path(databasePath)); err != nil || s.Generation != 4 || s.Section("secrets").Int("max_secrets") != 6 {
		t.Errorf("the whole does not follow the section: %+v, %v", s, err)
	}
	if err := os.Remove(r.path(databasePath)); err != nil {
		t.Fatal(err)
	}
	if s, err = c.CommitSection(r.path(databasePath), "kcm"); err != nil || s.Section("secrets").Int("max_secrets") != 6 {
		t.Errorf("without a database the others are lost: %+v, %v", s, err)
	}
}

func TestWhoeverCommitsAtTheSameTimeGetsAGenerationOfItsOwn(t *testing.T) {
	r := newRoot(t)
	var configs []*Config
	for i := range 8 {
		r.write(t, "/etc/sssd/sssd.conf", "[kcm]\nfd_limit = 10"+strconv.Itoa(i)+"\n")
		configs = append(configs, r.good(t))
	}
	generations := make([]uint64, len(configs))
	var writers sync.WaitGroup
	for i, c := range configs {
		writers.Go(func() {
			s, err := c.Commit(r.path(databasePath))
			if err != nil {
				t.Error(err)
				return
			}
			generations[i] = s.Generation
		})
	}
	writers.Wait()
	seen := map[uint64]bool{}
	for _, generation := range generations {
		if seen[generation] || generation < 1 || generation > uint64(len(configs)) {
			t.Errorf("generations are %v", generations)
		}
		seen[generation] = true
	}
}

func TestAFailedCommitLeavesTheOldDatabase(t *testing.T) {
	r := newRoot(t)
	commit(t, r, "[kcm]\nfd_limit = 65\n")
	// A directory that is not empty cannot make room for the new database.
	if err := os.MkdirAll(linux.Beside(r.path(databasePath))+"/x", 0o700); err != nil {
		t.Fatal(err)
	}
	r.write(t, "/etc/sssd/sssd.conf", "[kcm]\nfd_limit = 66\n")
	if _, err := r.good(t).Commit(r.path(databasePath)); err == nil {
		t.Error("there is no error")
	}
	if s := open(t, r); s.Generation != 1 || s.Section("kcm").Int("fd_limit") != 65 {
		t.Errorf("the old one is gone: %+v", s)
	}
}

// FuzzDecodeDatabase must not panic, whatever is in the file; with a right
// checksum in front, what it accepts must be usable and survive the way back.
func FuzzDecodeDatabase(f *testing.F) {
	f.Add([]byte(`{"hash":"","time":"2026-01-01T00:00:00Z","sections":{"kcm":{"name":"KCM","options":{"a":{"key":"A","text":"1","line":3}}}}}`))
	f.Add([]byte(`{"sections":{"kcm":null}}`))
	f.Add([]byte(`{"sections":{"x":{"name":"kcm"}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := decodeDatabase(text); err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
		line := generationTag + "7\n"
		s, err := decodeDatabase([]byte(magic + line + checksumTag + checksum(line, text) + "\n" + string(text)))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		s.schema = testSchema()
		s.Section("kcm").Int("fd_limit")
		data, err := encodeDatabase(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeDatabase(data)
		if err != nil {
			t.Fatal(err)
		}
		again.schema = s.schema
		if !reflect.DeepEqual(s.Show(""), again.Show("")) {
			t.Fatalf("%q came back as %q", s.Show(""), again.Show(""))
		}
	})
}
