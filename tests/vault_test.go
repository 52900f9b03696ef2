package tests

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// vaults are the values of ccache_storage that keep caches in a vault, and its file.
var vaults = map[string]string{"secrets": "secrets.db", "secdb": "kcm.db"}

func storedIn(storage string) string {
	return "[kcm]\nccache_storage = " + storage + "\n"
}

func (s *system) vault(file string) string {
	return filepath.Join(s.path("/var/lib/sss/secrets"), file)
}

func TestSssctlGivesEveryVaultANewMasterKey(t *testing.T) {
	t.Parallel()
	s := newSystem(t, storedIn("secdb")).start()
	me := user(os.Getuid())
	name := fmt.Sprint(me)
	if err := s.kcm().Initialize(name, principal("alice")); err != nil {
		t.Fatal(err)
	}
	kcmKey, secretsKey := s.vault(".kcm.mkey"), s.vault(".secrets.mkey")
	rekeyed := func(files ...string) {
		t.Helper()
		before := map[string]string{}
		for _, key := range []string{kcmKey, secretsKey} {
			b, _ := os.ReadFile(key) // one may not be there yet
			before[key] = string(b)
		}
		got := s.ctl(me, "", "secrets", "rekey")
		if got.code != 0 || got.stderr != "" || strings.Count(got.stdout, "\n") != len(files) {
			t.Fatalf("%+v", got)
		}
		for _, file := range files {
			expect(t, got.stdout, s.vault(file)+" are encrypted under a new master key.")
			key := map[string]string{"kcm.db": kcmKey, "secrets.db": secretsKey}[file]
			if after, err := os.ReadFile(key); err != nil || string(after) == before[key] {
				t.Errorf("%s is the old one, %v", key, err)
			}
		}
	}
	rekeyed("kcm.db")
	if got := s.ctl(me, "", "secrets", "set", "x", "value"); got != (said{}) {
		t.Fatalf("%+v", got)
	}
	rekeyed("kcm.db", "secrets.db")

	// What is left in a vault that is not in use is not left under the old key.
	s.configure(storedIn("secrets"))
	s.restart()
	if err := s.kcm().Initialize(name, principal("bob")); err != nil {
		t.Fatal(err)
	}
	rekeyed("kcm.db", "secrets.db")
	if got := s.ctl(me, "", "ccache", "move"); got.code != 0 {
		t.Errorf("%+v", got)
	}

	// What was not done is not claimed.
	if err := os.Chmod(secretsKey, 0o644); err != nil {
		t.Fatal(err)
	}
	s.restart()
	got := s.ctl(me, "", "secrets", "rekey")
	if got.code != 1 || strings.Contains(got.stdout, "secrets.db") {
		t.Errorf("%+v", got)
	}
	expect(t, got.stderr, "secrets.db", "not all under a new master key", "mode 0644")
}

// spoil exchanges two records of a user in a vault that nobody has open.
func spoil(t *testing.T, path, hive string, uid uint32) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte("hive:" + hive))
		owner := []byte{byte(uid >> 24), byte(uid >> 16), byte(uid >> 8), byte(uid)}
		cursor := bucket.Cursor()
		cursor.Seek(owner) // the sum of the others
		name, value := cursor.Next()
		other, otherValue := cursor.Next()
		if !bytes.HasPrefix(other, owner) {
			return errors.New("the user has too few records")
		}
		name, value, other, otherValue = bytes.Clone(name), bytes.Clone(value), bytes.Clone(other), bytes.Clone(otherValue)
		return errors.Join(bucket.Put(name, otherValue), bucket.Put(other, value))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestADamagedUserIsAUser: others are served and can log in, also where they
// are counted, and sssctl shows, repairs and discards.
func TestADamagedUserIsAUser(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for storage, file := range vaults {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, storedIn(storage)+"max_ccaches = 100\n").start()
			c := s.kcm()
			for _, name := range []string{"20001", "20002", "20003"} {
				err := c.Initialize(name, principal("alice"))
				for i := 0; i < 3 && err == nil; i++ {
					err = c.store(name, principal("alice"), fmt.Sprint("host", i))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			c.reset()
			s.kill(unix.SIGTERM)
			spoil(t, s.vault(file), "kcm", 20001)
			spoil(t, s.vault(file), "kcm", 20002)
			s.start()
			if services, err := c.services("20003"); err != nil || len(services) != 3 {
				t.Errorf("another user has %v, %v", services, err)
			}
			if _, err := c.services("20001"); err == nil {
				t.Error("damaged records are served")
			}
			if err := c.Initialize("20004", principal("bob")); err != nil {
				t.Errorf("a new user cannot log in: %v", err)
			}
			got := s.ctl(0, "", "secrets", "check")
			if got.code != 1 || strings.Count(got.stdout, "\n") != 3 {
				t.Errorf("%+v", got)
			}
			expect(t, got.stdout, s.vault(file)+": credential caches of uid 20001: ", "uid 20002: ", "sssctl secrets repair UID")

			if got := s.ctl(0, "", "secrets", "repair", "20001"); got.code != 0 || !strings.Contains(got.stdout, "2 records are kept, 2 are deleted") {
				t.Errorf("%+v", got)
			}
			if got := s.ctl(0, "", "secrets", "discard", "20002"); got.code != 0 || !strings.Contains(got.stdout, "all are deleted") {
				t.Errorf("%+v", got)
			}
			for _, command := range []string{"repair", "discard"} {
				if got := s.ctl(0, "", "secrets", command, "20003"); got != (said{stdout: "Nothing of uid 20003 is damaged.\n"}) {
					t.Errorf("%+v", got)
				}
			}
			if got := s.ctl(0, "", "secrets", "check"); got != (said{stdout: "Nothing is damaged.\n"}) {
				t.Errorf("%+v", got)
			}
			for _, name := range []string{"20001", "20002"} {
				err := c.Initialize(name, principal("carol"))
				if err == nil {
					err = c.store(name, principal("carol"), "host")
				}
				if services, err := c.services(name); err != nil || len(services) != 1 {
					t.Errorf("after mending %s has %v, %v", name, services, err)
				}
				if err != nil {
					t.Error(err)
				}
			}
			if services, err := c.services("20003"); err != nil || len(services) != 3 {
				t.Errorf("in the end another user has %v, %v", services, err)
			}
		})
	}
}
