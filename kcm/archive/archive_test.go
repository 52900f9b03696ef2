package archive

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
)

// example is an archive of two users.
func example(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, [IDSize]byte{1, 2, 3})
	for uid := range uint32(2) {
		if err := w.User(User{uid, fmt.Sprint("u", uid)}); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := w.Record(Record{fmt.Sprint("key", i), bytes.Repeat([]byte{byte(i)}, 10*i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rewrite reads an archive and writes what it has read.
func rewrite(b []byte) ([]byte, error) {
	var again bytes.Buffer
	var body bytes.Buffer
	w := &Writer{to: &body}
	id, err := Read(bytes.NewReader(b), w.User, w.Record)
	NewWriter(&again, id)
	_ = w.Close()
	return append(again.Bytes(), body.Bytes()...), err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	b := example(t)
	if again, err := rewrite(b); err != nil || !bytes.Equal(again, b) {
		t.Errorf("%x became %x, %v", b, again, err)
	}
}

func TestOnlyAWholeArchiveIsRead(t *testing.T) {
	b := example(t)
	for n := range b {
		if _, err := rewrite(b[:n]); !errors.Is(err, ErrFormat) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	orphan := slices.Concat(b[:len(Magic)+IDSize], []byte{entryRecord}, AppendRecord(nil, Record{"k", nil}), []byte{entryEnd})
	long := slices.Concat(b[:len(Magic)+IDSize], []byte{entryUser, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	for name, bad := range map[string][]byte{
		"more behind its end": append(slices.Clone(b), 0), "another version": append([]byte("gosssd credential caches 2\n"), b[len(Magic):]...),
		"a record of nobody": orphan, "a name without end": long, "an unknown entry": append(slices.Clone(b[:len(b)-1]), 9),
	} {
		if _, err := rewrite(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused := errors.New("no")
	if _, err := Read(bytes.NewReader(b), func(User) error { return refused }, nil); !errors.Is(err, refused) {
		t.Error(err)
	}
}

func FuzzArchive(f *testing.F) {
	f.Add(example(f))
	f.Add([]byte(Magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := rewrite(b)
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%x: %v", b, err)
		}
	})
}
