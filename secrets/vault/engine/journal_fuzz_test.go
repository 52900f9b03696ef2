package engine

import (
	"maps"
	"strings"
	"testing"
)

// FuzzChanges: what can be read of an entry of the journal is the same when it
// is written and read again.
func FuzzChanges(f *testing.F) {
	name := []byte(strings.Repeat("g", GroupLen) + "name")
	written := changes{}
	written.set("Records", name, []byte("value"))
	f.Add(appendChanges(nil, written))
	written.set("Records", append(name, '2'), nil)
	written.set("Head", name, []byte{})
	f.Add(appendChanges(nil, written))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		read, again := changes{}, changes{}
		if parseChanges(b, read) != nil {
			return
		}
		printed := appendChanges(nil, read)
		if sizeOf(read) != aligned(int64(journalHeader+len(printed))) {
			t.Fatalf("%d bytes are counted as %d", len(printed), sizeOf(read))
		}
		if err := parseChanges(printed, again); err != nil {
			t.Fatalf("%x is written as %x, which cannot be read: %v", b, printed, err)
		}
		same := maps.EqualFunc(read, again, func(a, b map[string][]byte) bool {
			return maps.EqualFunc(a, b, func(x, y []byte) bool { return (x == nil) == (y == nil) && string(x) == string(y) })
		})
		if !same {
			t.Fatalf("%v is read again as %v", read, again)
		}
	})
}

// FuzzPosition: what is taken for the place of a journal is one that was written.
func FuzzPosition(f *testing.F) {
	salt := []byte("salt")
	f.Add(position{generation: 1}.encode(salt))
	f.Add(position{generation: 2, number: 3, offset: 4096, size: 8192, inUse: true}.encode(salt))
	f.Add([]byte("journal"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodePosition(b, salt)
		if err == nil && len(b) > 0 && string(p.encode(salt)) != string(b) {
			t.Fatalf("%x is written as %x", b, p.encode(salt))
		}
	})
}
