package records

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"testing"
)

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	all := []Record{{"a", []byte("1")}, {"", []byte{}}, {"deleted", nil}, {"b\x00/ü", bytes.Repeat([]byte{0xff}, 70000)}}
	var b []byte
	size := 0
	for _, r := range all {
		b = Append(b, r.Key, r.Value)
		size += Size(r.Key, r.Value)
	}
	if len(b) != size {
		t.Errorf("%d bytes, but Size says %d", len(b), size)
	}
	parsed, err := Parse(b)
	if err != nil || !reflect.DeepEqual(parsed, all) {
		t.Errorf("parsed as %v, %v", parsed, err)
	}
	if none, err := Parse(nil); none != nil || err != nil {
		t.Errorf("nothing is parsed as %v, %v", none, err)
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
	} {
		if _, err := Parse(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseMap(append(one, one...)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a key that occurs twice: %v", err)
	}
}

func TestFuzzingHasSeeds(t *testing.T) {
	if seeds, err := os.ReadDir("testdata/fuzz/FuzzParse"); err != nil || len(seeds) < 4 {
		t.Errorf("%d seeds, %v", len(seeds), err)
	}
}

func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := Parse(b)
		if err != nil {
			return
		}
		var again []byte
		for _, r := range all {
			again = Append(again, r.Key, r.Value)
		}
		if !bytes.Equal(again, b) {
			t.Errorf("%x became %x", b, again)
		}
	})
}
