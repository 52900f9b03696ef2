package records

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// all cuts every record off b.
func all(b []byte) (list []Record, err error) {
	for len(b) > 0 {
		var r Record
		if r, b, err = Cut(b); err != nil {
			return list, err
		}
		list = append(list, r)
	}
	return list, nil
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	list := []Record{{"a", []byte("1")}, {"", []byte{}}, {"deleted", nil}, {"b\x00/ü", bytes.Repeat([]byte{0xff}, 70000)}}
	var b []byte
	size := 0
	for _, r := range list {
		b = Append(b, r.Key, r.Value)
		size += Size(r.Key, r.Value)
	}
	if len(b) != size {
		t.Errorf("%d bytes, but Size says %d", len(b), size)
	}
	if parsed, err := all(b); err != nil || !reflect.DeepEqual(parsed, list) {
		t.Errorf("cut as %v, %v", parsed, err)
	}
	if m, err := ParseMap(b); err != nil || len(m) != len(list) {
		t.Errorf("parsed as %v, %v", m, err)
	}
	if m, err := ParseMap(nil); len(m) > 0 || err != nil {
		t.Errorf("nothing is parsed as %v, %v", m, err)
	}
}

func TestMalformedRecordsAreRefused(t *testing.T) {
	one := Append(nil, "key", []byte("value"))
	for name, b := range map[string][]byte{
		"a length is cut short":        one[:3],
		"a key is cut short":           one[:6],
		"the value's length is cut":    one[:9],
		"there is no value":            one[:7],
		"a value is cut short":         one[:len(one)-1],
		"something follows":            append(bytes.Clone(one), 0),
		"a key is too long":            Append(nil, string(make([]byte, MaxKey+1)), nil),
		"a length is far too large":    {0xff, 0xff, 0xff, 0xfe, 0},
		"the deletion mark is a key's": {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"a key occurs twice":           append(bytes.Clone(one), one...),
	} {
		if _, err := ParseMap(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func frame(kind Kind, content string) []byte {
	b := append(Begin(nil, kind), content...)
	End(b)
	return b
}

// frames reads every frame that source sends.
func frames(source io.Reader, limit int64) (list []Frame, err error) {
	r := NewReader(source)
	for {
		f, err := r.Next(limit)
		if err != nil {
			return list, err
		}
		list = append(list, Frame{f.Kind, bytes.Clone(f.Content)})
		clear(f.Content)
	}
}

func TestFramesComeBackAsTheyWere(t *testing.T) {
	list := []Frame{{Owners, []byte{}}, {Load, []byte("x")}, {Commit, bytes.Repeat([]byte("y"), 300_000)}, {Some, bytes.Repeat([]byte("z"), usualBuffer)}, {Done, []byte("ok")}}
	var sent []byte
	for _, f := range list {
		sent = append(sent, frame(f.Kind, string(f.Content))...)
	}
	for name, source := range map[string]io.Reader{
		"at once":                   bytes.NewReader(sent),
		"one byte after the other":  iotest.OneByteReader(bytes.NewReader(sent)),
		"the end with the last one": iotest.DataErrReader(bytes.NewReader(sent)),
	} {
		if read, err := frames(source, 1<<20); !errors.Is(err, io.EOF) || !reflect.DeepEqual(read, list) {
			t.Errorf("%s: %d frames, %v", name, len(read), err)
		}
	}
	for _, cut := range []int{1, 3, headSize + headSize, len(sent) - 1} {
		if _, err := frames(bytes.NewReader(sent[:cut]), 1<<20); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
}

func TestALongFrameIsDroppedAndTheNextIsRead(t *testing.T) {
	for _, length := range []int{11, usualBuffer, 100_000} {
		r := NewReader(bytes.NewReader(append(frame(Commit, strings.Repeat("x", length)), frame(Load, "next")...)))
		if f, err := r.Next(10); f.Kind != Commit || !errors.Is(err, ErrTooLong) {
			t.Errorf("a frame of %d bytes: %v, %v", length, f.Kind, err)
		}
		if f, err := r.Next(10); err != nil || string(f.Content) != "next" {
			t.Errorf("the next: %q, %v", f.Content, err)
		}
	}
}

func TestABufferFollowsWhatArrives(t *testing.T) {
	head := frame(Commit, "")
	copy(head, []byte{0x40, 0, 0, 0}) // announces 1 GiB
	r := NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader(strings.Repeat("x", 100_000))))
	if _, err := r.Next(2 << 30); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if len(r.buffer) > 300_000 {
		t.Errorf("for 100 000 bytes there are %d", len(r.buffer))
	}
	r = NewReader(bytes.NewReader(append(frame(Commit, strings.Repeat("x", 100_000)), frame(Load, "")...)))
	if f, err := r.Next(1 << 20); err != nil || len(f.Content) != 100_000 {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil || len(r.buffer) > keptBuffer {
		t.Errorf("after a large frame there are %d bytes, %v", len(r.buffer), err)
	}
}

func TestOnlyAWholeFrameNeedsNoReading(t *testing.T) {
	sent := append(frame(Load, "abc"), frame(Owners, "")[:4]...)
	r := NewReader(bytes.NewReader(sent))
	if err := r.Wait(); err != nil || !r.Whole() {
		t.Errorf("a whole frame: %v, %v", r.Whole(), err)
	}
	if _, err := r.Next(10); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil || r.Whole() {
		t.Errorf("half a head: %v, %v", r.Whole(), err)
	}
}

func TestTheUpgradeIsReadAsText(t *testing.T) {
	r := NewReader(iotest.HalfReader(strings.NewReader(UpgradeAnswer + string(frame(Done, "")))))
	if err := r.Text(UpgradeAnswer); err != nil {
		t.Fatal(err)
	}
	if f, err := r.Next(0); err != nil || f.Kind != Done {
		t.Errorf("after it: %v, %v", f, err)
	}
	other := "HTTP/1.1 403 Forbidden\r\n" + strings.Repeat("x", len(UpgradeAnswer))
	if err := NewReader(strings.NewReader(other)).Text(UpgradeAnswer); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("another answer: %v", err)
	}
	if err := NewReader(strings.NewReader(other[:30])).Text(UpgradeAnswer); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("a short one: %v", err)
	}
	if err := NewReader(strings.NewReader(UpgradeAnswer[:20])).Text(UpgradeAnswer); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half an answer: %v", err)
	}
}

func TestContentsComeBackAsTheyWere(t *testing.T) {
	subject := Subject{UID: 1<<32 - 1, Token: Token{1, 15: 2}}
	content := append(subject.AppendTo(nil), "changes"...)
	if s, changes, err := CutSubject(content); err != nil || s != subject || string(changes) != "changes" {
		t.Errorf("%v, %q, %v", s, changes, err)
	}
	if _, _, err := CutSubject(content[:subjectSize-1]); !errors.Is(err, ErrMalformed) {
		t.Errorf("half a subject: %v", err)
	}
	result := Result{507, "full"}
	read, err := frames(bytes.NewReader(result.AppendTo(nil)), 100)
	if !errors.Is(err, io.EOF) || len(read) != 1 || read[0].Kind != Done {
		t.Fatalf("%v, %v", read, err)
	}
	if r, err := ParseResult(read[0].Content); err != nil || r != result {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := ParseResult([]byte{1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("half a status: %v", err)
	}
}

func TestFuzzingHasSeeds(t *testing.T) {
	for _, target := range []string{"FuzzRecords", "FuzzFrames"} {
		if seeds, err := os.ReadDir("testdata/fuzz/" + target); err != nil || len(seeds) < 4 {
			t.Errorf("%s has %d seeds, %v", target, len(seeds), err)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := all(b)
		m, mapErr := ParseMap(b)
		if (mapErr == nil) != (err == nil && len(m) == len(list)) {
			t.Errorf("%d records in order, %v, but %d by key, %v", len(list), err, len(m), mapErr)
		}
		if err != nil {
			return
		}
		var again []byte
		for _, r := range list {
			again = Append(again, r.Key, r.Value)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
		for key := range maps.Keys(m) {
			if !slices.ContainsFunc(list, func(r Record) bool { return r.Key == key }) {
				t.Errorf("key %q is only in the map", key)
			}
		}
	})
}

func FuzzFrames(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 16
		whole, wholeErr := frames(bytes.NewReader(b), limit)
		pieces, piecesErr := frames(iotest.OneByteReader(bytes.NewReader(b)), limit)
		if !reflect.DeepEqual(whole, pieces) || !errors.Is(piecesErr, wholeErr) {
			t.Errorf("at once %v, %v; in pieces %v, %v", whole, wholeErr, pieces, piecesErr)
		}
		var again []byte
		for _, f := range whole {
			again = append(again, frame(f.Kind, string(f.Content))...)
			if s, changes, err := CutSubject(f.Content); err == nil && !bytes.Equal(append(s.AppendTo(nil), changes...), f.Content) {
				t.Errorf("subject %v of %x", s, f.Content)
			}
			if r, err := ParseResult(f.Content); err == nil && f.Kind == Done && !bytes.Equal(r.AppendTo(nil), frame(Done, string(f.Content))) {
				t.Errorf("result %v of %x", r, f.Content)
			}
		}
		if !bytes.HasPrefix(b, again) || errors.Is(wholeErr, io.EOF) && len(again) != len(b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
