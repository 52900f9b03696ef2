package ldb

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
)

// database is one with two users, as SSSD 2.8 leaves it.
func database() *builder {
	b := newBuilder()
	b.raw("DN=@BASEINFO\x00", "what ldb keeps about itself")
	b.entry("cn=ccache,cn=1000,cn=persistent,cn=kcm", "creationTime", "5", "type", "container")
	b.cache(1000, 1, "1000:later", 20, "a", "b")
	b.cache(1000, 2, "1000", 10, "c")
	b.choose(1000, 2)
	b.cache(0, 3, `0:with \,=,cn=x `, 10)
	b.entry("cn=a,cn=users,cn=secrets", "type", "simple", "secret", "another hive's")
	return b
}

func TestCachesAreReadAsTheyWereStored(t *testing.T) {
	users, damaged, err := Read(database().file)
	if err != nil || len(damaged) > 0 {
		t.Fatal(err, damaged)
	}
	principal := protocol.AppendPrincipal(nil, testPrincipal("alice"))
	want := []User{
		{UID: 0, Caches: []Cache{{UUID: testUUID(3), Name: `0:with \,=,cn=x `, Created: 10, Offset: 10, Principal: principal}}},
		{UID: 1000, Default: testUUID(2), Caches: []Cache{
			{UUID: testUUID(2), Name: "1000", Created: 10, Offset: 10, Principal: principal,
				Credentials: [][]byte{testCredential("alice", "c")}},
			{UUID: testUUID(1), Name: "1000:later", Created: 20, Offset: 10, Principal: principal,
				Credentials: [][]byte{testCredential("alice", "a"), testCredential("alice", "b")}},
		}},
	}
	if !reflect.DeepEqual(users, want) {
		t.Errorf("read\n%+v\nnot\n%+v", users, want)
	}
}

func TestARecordWithoutAPrincipalIsACache(t *testing.T) {
	b := newBuilder()
	b.entry(cacheDN(5, 1, "5:x"), "creationTime", "1", "secret", strings.Repeat("\x00", 9))
	users, damaged, err := Read(b.file)
	if err != nil || len(damaged) > 0 || len(users) != 1 || users[0].Caches[0].Principal != nil {
		t.Errorf("%+v %v %v", users, damaged, err)
	}
}

func TestAFileThatIsNotOneIsNamedSo(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*builder)
		want  string
	}{
		"it is empty":                  {func(b *builder) { b.file = nil }, ErrNotTDB.Error()},
		"it is SQLite's":               {func(b *builder) { copy(b.file, "SQLite format 3\x00") }, ErrNotTDB.Error()},
		"it is cut in the header":      {func(b *builder) { b.file = b.file[:100] }, ErrNotTDB.Error()},
		"it is cut in the hash chains": {func(b *builder) { b.file = b.file[:180] }, "7 hash chains do not fit into 180 bytes"},
		"it has no hash chains":        {func(b *builder) { b.put(offsetBuckets, 0) }, "0 hash chains"},
		"it is of another version":     {func(b *builder) { b.put(offsetVersion, 1) }, "version 0x1 of TDB, not 0x2601196d"},
		"it is of a big-endian machine": {func(b *builder) { copy(b.file[offsetVersion:], "\x26\x01\x19\x6d") },
			"other byte order"},
		"the recovery area is outside": {func(b *builder) { b.put(offsetRecovery, 1<<30) }, "recovery area at 1073741824 is behind the end"},
		"a transaction was cut off": {func(b *builder) {
			at := b.raw("X\x00", "old bytes")
			b.put(at+20, recoveryPending)
			b.put(offsetRecovery, at)
		}, ErrUnfinished.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			b := database()
			test.spoil(b)
			users, _, err := Read(b.file)
			if err == nil || !strings.Contains(err.Error(), test.want) || users != nil {
				t.Errorf("%v, %v; want an error with %q", users, err, test.want)
			}
		})
	}
}

func TestDamageCostsOnlyWhatItHits(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(*builder)
		want  string
		lost  int // of three caches
	}{
		"an encrypted cache": {func(b *builder) {
			b.entry(cacheDN(1000, 9, "1000:old"), "creationTime", "1", "type", "simple", "enctype", "masterkey", "secret", "x")
		}, "0000-000000000009-1000:old,cn=ccache,cn=1000,cn=persistent,cn=kcm: " + ErrEncrypted.Error(), 0},
		"a value that ends early": {func(b *builder) {
			b.entry(cacheDN(1000, 9, "1000:x"), "creationTime", "1", "secret", payload("alice", "a")[:50])
		}, "value of 50 bytes: it ends too early", 0},
		"no value": {func(b *builder) { b.entry(cacheDN(1000, 9, "1000:x"), "creationTime", "1") },
			"value of 0 bytes", 0},
		"a credential that is none": {func(b *builder) {
			value := strings.Replace(payload("alice", "a"), string(testCredential("alice", "a")), strings.Repeat("\xff", len(testCredential("alice", "a"))), 1)
			b.entry(cacheDN(1000, 9, "1000:x"), "creationTime", "1", "secret", value)
		}, "credential 1: ", 0},
		"a principal of too many components": {func(b *builder) {
			b.entry(cacheDN(1000, 9, "1000:x"), "creationTime", "1", "secret", "\x00\x00\x00\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff")
		}, "a principal of 4294967295 components", 0},
		"an unknown beginning": {func(b *builder) {
			b.entry(cacheDN(1000, 9, "1000:x"), "creationTime", "1", "secret", "\x00\x00\x00\x00\x02")
		}, "neither with nor without a principal", 0},
		"a name without a UUID": {func(b *builder) {
			b.entry("cn=x,cn=ccache,cn=1000"+hiveSuffix, "creationTime", "1", "secret", payload("alice"))
		}, "not named by a UUID", 0},
		"a uid that is none": {func(b *builder) {
			b.entry(strings.Replace(cacheDN(1000, 9, "1000:x"), "cn=1000", "cn=01000", 1), "creationTime", "1", "secret", payload("alice"))
		}, `"01000" is not a uid`, 0},
		"a time that is none": {func(b *builder) {
			b.entry(cacheDN(1000, 9, "1000:x"), "creationTime", "soon", "secret", payload("alice"))
		}, `creationTime "soon" is not a number`, 0},
		"a default that is none": {func(b *builder) { b.entry("cn=default,cn=7"+hiveSuffix, "secret", "x") }, `"x" is not a UUID`, 0},
		"another kind of record": {func(b *builder) { b.entry("cn=x,cn=7"+hiveSuffix, "secret", "x") }, "neither a cache nor", 0},
		"a record in another packing": {func(b *builder) { b.raw("DN=CN=X\x00", "\x68\x19\x01\x26\x00\x00\x00\x00cn=x\x00") },
			"packed as 0x26011968, not 0x26011967", 0},
		"a record that is cut": {func(b *builder) { b.raw("DN=CN=X\x00", "\x67\x19\x01\x26\x01\x00\x00\x00cn=x\x00a") },
			`record "cn=x": it ends too early`, 0},
		"a chain that ends in the wild": {func(b *builder) { b.put(b.raw("ZZ\x00", ""), 1<<30) },
			"a record at 1073741824 is behind the end", 3},
		"a chain that is a ring":    {func(b *builder) { at := b.raw("ZZ\x00", ""); b.put(at, at) }, "comes twice to the record at", 3},
		"a record that is too long": {func(b *builder) { b.put(b.raw("ZZ\x00", "")+4, 1<<30) }, "in 1073741824, and the file ends at", 3},
		"a record of no known kind": {func(b *builder) { b.put(b.raw("ZZ\x00", "")+20, 1) }, "begins with 0x1, not", 3},
	} {
		t.Run(name, func(t *testing.T) {
			b := database()
			test.spoil(b)
			users, damaged, err := Read(b.file)
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
	b.entry(cacheDN(1, 9, "1:x"), "creationTime", "1", "enctype", "masterkey")
	if _, damaged, _ := Read(b.file); len(damaged) != 1 || !errors.Is(damaged[0], ErrEncrypted) {
		t.Errorf("%v is not ErrEncrypted", damaged)
	}
}

func TestADeadRecordIsSkipped(t *testing.T) {
	b := database()
	b.put(b.entry(cacheDN(1, 9, "1:x"), "creationTime", "1", "secret", payload("alice"))+20, recordDead)
	if users, damaged, err := Read(b.file); err != nil || len(damaged) > 0 || countCaches(users) != 3 {
		t.Errorf("%v %v %v", users, damaged, err)
	}
}

// A cut file gives what is before the cut, and no cache that was not stored.
func TestACutFileGivesWhatIsLeft(t *testing.T) {
	whole := database().file
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
	f.Add(database().file)
	b := newBuilder()
	b.entry(cacheDN(1, 9, "1:x"), "creationTime", "1", "enctype", "masterkey", "secret", "x")
	f.Add(b.file)
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
	db := newBuilder()
	for uid := range uint32(1000) {
		db.cache(uid, int(uid), fmt.Sprint(uid), 1, "a", "b", "c")
	}
	for b.Loop() {
		if users, damaged, err := Read(db.file); err != nil || len(damaged) > 0 || len(users) != 1000 {
			b.Fatal(err, damaged)
		}
	}
}
