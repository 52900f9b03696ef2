package ldb

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"gosssd/kcm/ldb/ldbtest"
	"gosssd/kcm/protocol"
)

// database is one with two users, as SSSD 2.8 leaves it.
func database() *ldbtest.Builder {
	b := ldbtest.New()
	b.Raw("DN=@BASEINFO\x00", "what ldb keeps about itself")
	b.Entry("cn=ccache,cn=1000,cn=persistent,cn=kcm", "creationTime", "5", "type", "container")
	b.Cache(1000, 1, "1000:later", 20, "a", "b")
	b.Cache(1000, 2, "1000", 10, "c")
	b.Choose(1000, 2)
	b.Cache(0, 3, `0:with \,=,cn=x `, 10)
	b.Entry("cn=a,cn=users,cn=secrets", "type", "simple", "secret", "another hive's")
	return b
}

func TestCachesAreReadAsTheyWereStored(t *testing.T) {
	users, damaged, err := Read(database().File)
	if err != nil || len(damaged) > 0 {
		t.Fatal(err, damaged)
	}
	principal := protocol.AppendPrincipal(nil, ldbtest.Principal("alice"))
	want := []User{
		{UID: 0, Caches: []Cache{{UUID: ldbtest.UUID(3), Name: `0:with \,=,cn=x `, Created: 10, Offset: 10, Principal: principal}}},
		{UID: 1000, Default: ldbtest.UUID(2), Caches: []Cache{
			{UUID: ldbtest.UUID(2), Name: "1000", Created: 10, Offset: 10, Principal: principal,
				Credentials: [][]byte{ldbtest.Credential("alice", "c")}},
			{UUID: ldbtest.UUID(1), Name: "1000:later", Created: 20, Offset: 10, Principal: principal,
				Credentials: [][]byte{ldbtest.Credential("alice", "a"), ldbtest.Credential("alice", "b")}},
		}},
	}
	if !reflect.DeepEqual(users, want) {
		t.Errorf("read\n%+v\nnot\n%+v", users, want)
	}
}

func TestARecordWithoutAPrincipalIsACache(t *testing.T) {
	b := ldbtest.New()
	b.Entry(ldbtest.CacheDN(5, 1, "5:x"), "creationTime", "1", "secret", strings.Repeat("\x00", 9))
	users, damaged, err := Read(b.File)
	if err != nil || len(damaged) > 0 || len(users) != 1 || users[0].Caches[0].Principal != nil {
		t.Errorf("%+v %v %v", users, damaged, err)
	}
}

func TestAFileThatIsNotOneIsNamedSo(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*ldbtest.Builder)
		want  string
	}{
		"it is empty":                  {func(b *ldbtest.Builder) { b.File = nil }, ErrNotTDB.Error()},
		"it is SQLite's":               {func(b *ldbtest.Builder) { copy(b.File, "SQLite format 3\x00") }, ErrNotTDB.Error()},
		"it is cut in the header":      {func(b *ldbtest.Builder) { b.File = b.File[:100] }, ErrNotTDB.Error()},
		"it is cut in the hash chains": {func(b *ldbtest.Builder) { b.File = b.File[:180] }, "7 hash chains do not fit into 180 bytes"},
		"it has no hash chains":        {func(b *ldbtest.Builder) { b.Put(offsetBuckets, 0) }, "0 hash chains"},
		"it is of another version":     {func(b *ldbtest.Builder) { b.Put(offsetVersion, 1) }, "version 0x1 of TDB, not 0x2601196d"},
		"it is of a big-endian machine": {func(b *ldbtest.Builder) { copy(b.File[offsetVersion:], "\x26\x01\x19\x6d") },
			"other byte order"},
		"the recovery area is outside": {func(b *ldbtest.Builder) { b.Put(offsetRecovery, 1<<30) }, "recovery area at 1073741824 is behind the end"},
		"a transaction was cut off": {func(b *ldbtest.Builder) {
			at := b.Raw("X\x00", "old bytes")
			b.Put(at+20, recoveryPending)
			b.Put(offsetRecovery, at)
		}, ErrUnfinished.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			b := database()
			test.spoil(b)
			users, _, err := Read(b.File)
			if err == nil || !strings.Contains(err.Error(), test.want) || users != nil {
				t.Errorf("%v, %v; want an error with %q", users, err, test.want)
			}
		})
	}
}

func TestDamageCostsOnlyWhatItHits(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*ldbtest.Builder)
		want  string
		lost  int // of three caches
	}{
		"an encrypted cache": {func(b *ldbtest.Builder) {
			b.Entry(ldbtest.CacheDN(1000, 9, "1000:old"), "creationTime", "1", "type", "simple", "enctype", "masterkey", "secret", "x")
		}, "0000-000000000009-1000:old,cn=ccache,cn=1000,cn=persistent,cn=kcm: " + ErrEncrypted.Error(), 0},
		"a value that ends early": {func(b *ldbtest.Builder) {
			b.Entry(ldbtest.CacheDN(1000, 9, "1000:x"), "creationTime", "1", "secret", ldbtest.Payload("alice", "a")[:50])
		}, "value of 50 bytes: it ends too early", 0},
		"no value": {func(b *ldbtest.Builder) { b.Entry(ldbtest.CacheDN(1000, 9, "1000:x"), "creationTime", "1") },
			"value of 0 bytes", 0},
		"a credential that is none": {func(b *ldbtest.Builder) {
			value := strings.Replace(ldbtest.Payload("alice", "a"), string(ldbtest.Credential("alice", "a")), strings.Repeat("\xff", len(ldbtest.Credential("alice", "a"))), 1)
			b.Entry(ldbtest.CacheDN(1000, 9, "1000:x"), "creationTime", "1", "secret", value)
		}, "credential 1: ", 0},
		"a principal of too many components": {func(b *ldbtest.Builder) {
			b.Entry(ldbtest.CacheDN(1000, 9, "1000:x"), "creationTime", "1", "secret", "\x00\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff")
		}, "a principal of 4294967295 components", 0},
		"an unknown beginning": {func(b *ldbtest.Builder) {
			b.Entry(ldbtest.CacheDN(1000, 9, "1000:x"), "creationTime", "1", "secret", "\x00\x00\x00\x00\x02")
		}, "neither with nor without a principal", 0},
		"a name without a UUID": {func(b *ldbtest.Builder) {
			b.Entry("cn=x,cn=ccache,cn=1000"+hiveSuffix, "creationTime", "1", "secret", ldbtest.Payload("alice"))
		}, "not named by a UUID", 0},
		"a uid that is none": {func(b *ldbtest.Builder) {
			b.Entry(strings.Replace(ldbtest.CacheDN(1000, 9, "1000:x"), "cn=1000", "cn=01000", 1), "creationTime", "1", "secret", ldbtest.Payload("alice"))
		}, `"01000" is not a uid`, 0},
		"a time that is none": {func(b *ldbtest.Builder) {
			b.Entry(ldbtest.CacheDN(1000, 9, "1000:x"), "creationTime", "soon", "secret", ldbtest.Payload("alice"))
		}, `creationTime "soon" is not a number`, 0},
		"a default that is none": {func(b *ldbtest.Builder) { b.Entry("cn=default,cn=7"+hiveSuffix, "secret", "x") }, `"x" is not a UUID`, 0},
		"another kind of record": {func(b *ldbtest.Builder) { b.Entry("cn=x,cn=7"+hiveSuffix, "secret", "x") }, "neither a cache nor", 0},
		"a record in another packing": {func(b *ldbtest.Builder) { b.Raw("DN=CN=X\x00", "\x68\x19\x01\x26\x00\x00\x00\x00cn=x\x00") },
			"packed as 0x26011968, not 0x26011967", 0},
		"a record that is cut": {func(b *ldbtest.Builder) { b.Raw("DN=CN=X\x00", "\x67\x19\x01\x26\x01\x00\x00\x00cn=x\x00a") },
			`record "cn=x": it ends too early`, 0},
		"a chain that ends in the wild": {func(b *ldbtest.Builder) { b.Put(b.Raw("ZZ\x00", ""), 1<<30) },
			"a record at 1073741824 is behind the end", 3},
		"a chain that is a ring":    {func(b *ldbtest.Builder) { at := b.Raw("ZZ\x00", ""); b.Put(at, at) }, "comes twice to the record at", 3},
		"a record that is too long": {func(b *ldbtest.Builder) { b.Put(b.Raw("ZZ\x00", "")+4, 1<<30) }, "in 1073741824, and the file ends at", 3},
		"a record of no known kind": {func(b *ldbtest.Builder) { b.Put(b.Raw("ZZ\x00", "")+20, 1) }, "begins with 0x1, not", 3},
	} {
		t.Run(name, func(t *testing.T) {
			b := database()
			test.spoil(b)
			users, damaged, err := Read(b.File)
			if err != nil {
				t.Fatal(err)
			}
			if len(damaged) != 1 || !strings.Contains(damaged[0].Error(), test.want) {
				t.Errorf("damage %v; want one with %q", damaged, test.want)
			}
			if n := countCaches(users); n < 3-test.lost {
				t.Errorf("%d caches are left of 3", n)
			}
		})
	}
	b := database()
	b.Entry(ldbtest.CacheDN(1, 9, "1:x"), "creationTime", "1", "enctype", "masterkey")
	if _, damaged, _ := Read(b.File); len(damaged) != 1 || !errors.Is(damaged[0], ErrEncrypted) {
		t.Errorf("%v is not ErrEncrypted", damaged)
	}
}

func TestADeadRecordIsSkipped(t *testing.T) {
	b := database()
	b.Put(b.Entry(ldbtest.CacheDN(1, 9, "1:x"), "creationTime", "1", "secret", ldbtest.Payload("alice"))+20, recordDead)
	if users, damaged, err := Read(b.File); err != nil || len(damaged) > 0 || countCaches(users) != 3 {
		t.Errorf("%v %v %v", users, damaged, err)
	}
}

// A cut file gives what is before the cut, and no cache that was not stored.
func TestACutFileGivesWhatIsLeft(t *testing.T) {
	whole := database().File
	stored := map[string]Cache{}
	users, _, _ := Read(whole)
	for _, user := range users {
		for _, c := range user.Caches {
			stored[c.Name] = c
		}
	}
	for size := range len(whole) {
		users, damaged, err := Read(whole[:size])
		found := countCaches(users)
		for _, user := range users {
			for _, c := range user.Caches {
				if !reflect.DeepEqual(c, stored[c.Name]) {
					t.Fatalf("cut to %d bytes: %+v was not stored", size, c)
				}
			}
		}
		if err == nil && len(damaged) == 0 && found < 3 && size < len(whole)-8 {
			t.Fatalf("cut to %d bytes: %d caches, and nobody is told", size, found)
		}
	}
}

func countCaches(users []User) (n int) {
	for _, user := range users {
		n += len(user.Caches)
	}
	return n
}

func FuzzRead(f *testing.F) {
	f.Add(database().File)
	b := ldbtest.New()
	b.Entry(ldbtest.CacheDN(1, 9, "1:x"), "creationTime", "1", "enctype", "masterkey", "secret", "x")
	f.Add(b.File)
	f.Fuzz(func(t *testing.T, file []byte) {
		before := bytes.Clone(file)
		users, damaged, err := Read(file)
		if err != nil && (users != nil || damaged != nil) {
			t.Error("an error and caches")
		}
		for _, user := range users {
			for _, c := range user.Caches {
				for _, raw := range c.Credentials {
					if _, err := protocol.ParseCredential(raw); err != nil {
						t.Error(err)
					}
				}
			}
		}
		if !bytes.Equal(file, before) {
			t.Error("the file was written to")
		}
	})
}

func BenchmarkRead1000Users(b *testing.B) {
	db := ldbtest.New()
	for uid := range uint32(1000) {
		db.Cache(uid, int(uid), fmt.Sprint(uid), 1, "a", "b", "c")
	}
	for b.Loop() {
		if users, damaged, err := Read(db.File); err != nil || len(damaged) > 0 || len(users) != 1000 {
			b.Fatal(err, damaged)
		}
	}
}
