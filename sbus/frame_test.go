package sbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// sample is a valid call with a body of every kind of type.
func sample(t testing.TB) []byte {
	t.Helper()
	body := []any{
		byte(1), true, int16(-2), uint16(2), int32(-3), uint32(3), int64(-4), uint64(4), 0.5,
		"text", dbus.ObjectPath("/a/b"), dbus.SignatureOf(uint32(0)), dbus.MakeVariant([]int64{7}),
		[]byte("bytes"), []string{}, map[string]dbus.Variant{"k": dbus.MakeVariant("v")}, testServices, [][]uint16{{1}, {}},
	}
	f, err := newCall(77, address{":1.9", "sssd.kcm", "/x", "a.b", "C"}, body)
	if err != nil {
		t.Fatal(err)
	}
	return f.raw
}

// withBody is a signal with that signature and those bytes as its body.
func withBody(t testing.TB, sig string, body ...byte) []byte {
	t.Helper()
	placeholder := make([]any, len(sig))
	for i := range placeholder {
		placeholder[i] = byte('y')
	}
	f, err := newSignal(1, address{path: "/", iface: "a.b", member: "C"}, placeholder)
	if err != nil {
		t.Fatal(err)
	}
	raw := f.raw[:len(f.raw)-len(f.body)]
	raw = bytes.Replace(raw, append([]byte{byte(len(sig))}, strings.Repeat("y", len(sig))...), append([]byte{byte(len(sig))}, sig...), 1)
	binary.LittleEndian.PutUint32(raw[4:], uint32(len(body)))
	return append(raw, body...)
}

func TestMessagesThatBreakTheMarshallingRulesAreRefused(t *testing.T) {
	tests := map[string]struct {
		sig  string
		body []byte
		ok   bool
	}{
		"a string is taken":                                      {"s", []byte{1, 0, 0, 0, 'x', 0}, true},
		"an array of structs is taken":                           {"a(y)", []byte{1, 0, 0, 0, 0, 0, 0, 0, 9}, true},
		"a variant is taken":                                     {"v", []byte{1, 'y', 0, 5}, true},
		"an array of empty structs has no end":                   {"a()", []byte{8, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, false},
		"a variant may not hide an array of empty structs":       {"v", []byte{3, 'a', '(', ')', 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, false},
		"a boolean is 0 or 1":                                    {"b", []byte{2, 0, 0, 0}, false},
		"a string is UTF-8":                                      {"s", []byte{1, 0, 0, 0, 0xff, 0}, false},
		"a string holds no NUL":                                  {"s", []byte{1, 0, 0, 0, 0, 0}, false},
		"a string ends with NUL":                                 {"s", []byte{1, 0, 0, 0, 'x', 'y'}, false},
		"a string does not reach beyond the message":             {"s", []byte{255, 255, 255, 255, 'x', 0}, false},
		"an array does not reach beyond the message":             {"ay", []byte{2, 0, 0, 0, 1}, false},
		"an array ends with an element":                          {"aq", []byte{3, 0, 0, 0, 1, 0, 1, 0}, false},
		"a path is a path":                                       {"o", []byte{1, 0, 0, 0, 'x', 0}, false},
		"a signature is a signature":                             {"g", []byte{1, '(', 0}, false},
		"a variant has one type":                                 {"v", []byte{2, 'y', 'y', 0, 1, 1}, false},
		"a variant has a type":                                   {"v", []byte{0, 0}, false},
		"file descriptors cannot be passed":                      {"h", []byte{0, 0, 0, 0}, false},
		"padding is zero":                                        {"yu", []byte{1, 9, 0, 0, 1, 0, 0, 0}, false},
		"the body ends where the signature does":                 {"y", []byte{1, 2}, false},
		"a signature needs a body":                               {"u", nil, false},
		"a dict has basic keys":                                  {"a{vs}", []byte{0, 0, 0, 0, 0, 0, 0, 0}, false},
		"a dict entry exists only in an array":                   {"{ss}", []byte{0, 0, 0, 0}, false},
		"arrays nest 32 deep":                                    {strings.Repeat("a", 32) + "y", []byte{0, 0, 0, 0}, true},
		"arrays do not nest 33 deep":                             {strings.Repeat("a", 33) + "y", []byte{0, 0, 0, 0}, false},
		"variants do not nest deeper than 64":                    {"v", append(bytes.Repeat([]byte{1, 'v', 0}, 70), 1, 'y', 0, 0), false},
		"variants may nest":                                      {"v", append(bytes.Repeat([]byte{1, 'v', 0}, 50), 1, 'y', 0, 0), true},
		"a struct is closed":                                     {"(y", []byte{0}, false},
		"nothing without a signature may follow the header":      {"", []byte{1}, false},
		"a dict with a value of its type is taken":               {"a{sy}", []byte{7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 'k', 0, 5}, true},
		"an empty array is padded to its elements":               {"ax", []byte{0, 0, 0, 0, 0, 0, 0, 0}, true},
		"an empty array without its padding is cut off":          {"ax", []byte{0, 0, 0, 0}, false},
		"a length near 4 GB in an array of arrays does not wrap": {"aay", []byte{8, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			raw := withBody(t, tc.sig, tc.body...)
			_, err := parseFrame(raw)
			if ok := err == nil; ok != tc.ok {
				t.Errorf("taken: %v, want %v; %v", ok, tc.ok, err)
			}
		})
	}
}

func TestAMessageIsTakenWithEveryType(t *testing.T) {
	f, err := parseFrame(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	args, err := f.args()
	if err != nil {
		t.Fatal(err)
	}
	var services []ServiceStatus
	if err := dbus.Store(args[16:17], &services); err != nil || !reflect.DeepEqual(services, testServices) {
		t.Errorf("services are %v, %v", services, err)
	}
}

func TestFrameSizes(t *testing.T) {
	head := func(order byte, body, fields uint32) []byte {
		h := []byte{order, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}
		if order == 'l' {
			binary.LittleEndian.PutUint32(h[4:], body)
			binary.LittleEndian.PutUint32(h[12:], fields)
			return h
		}
		binary.BigEndian.PutUint32(h[4:], body)
		binary.BigEndian.PutUint32(h[12:], fields)
		return h
	}
	tests := map[string]struct {
		head []byte
		size int // 0: refused
	}{
		"fields are padded to 8":              {head('l', 3, 9), 16 + 16 + 3},
		"big endian is read as such":          {head('B', 3, 9), 16 + 16 + 3},
		"1 MiB is the most":                   {head('l', 1<<20-16, 0), 1 << 20},
		"more than 1 MiB is refused":          {head('l', 1<<20-15, 0), 0},
		"a body of 4 GB is refused":           {head('l', 1<<32-1, 0), 0},
		"lengths that wrap 32 bits are not 0": {head('l', 1<<32-16, 0), 0},
		"fields of 4 GB do not wrap either":   {head('l', 16, 1<<32-1), 0},
		"another byte order is refused":       {head('x', 0, 0), 0},
		"another protocol version is refused": {[]byte{'l', 1, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			size, err := frameSize([fixedHeader]byte(tc.head))
			if size != tc.size || (err != nil) != (tc.size == 0) {
				t.Errorf("size %d, %v; want %d", size, err, tc.size)
			}
		})
	}
}

// A frame that is announced but does not come costs one step of memory.
func TestMemoryGrowsWithWhatArrives(t *testing.T) {
	head := []byte{'l', 1, 0, 1, 0, 0, 0xf, 0, 1, 0, 0, 0, 0, 0, 0, 0} // almost 1 MiB
	var largest int
	r := io.MultiReader(bytes.NewReader(head), readerFunc(func(p []byte) (int, error) {
		largest = max(largest, cap(p))
		return 0, io.EOF
	}))
	if _, err := readFrame(r); !errors.Is(err, errFrame) {
		t.Fatalf("error is %v", err)
	}
	if largest > 2*readStep {
		t.Errorf("a buffer of %d bytes for nothing", largest)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAStampedMessageKeepsItsBodyAndSerial(t *testing.T) {
	f, err := parseFrame(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Clone(f.body)
	if err := f.setSender(":1.12345"); err != nil {
		t.Fatal(err)
	}
	g, err := parseFrame(f.raw)
	if err != nil {
		t.Fatal(err)
	}
	if g.text(dbus.FieldSender) != ":1.12345" || g.serial != 77 || !bytes.Equal(g.body, body) {
		t.Errorf("message has become %v", g)
	}
}

// FuzzFrame checks that whatever is taken from a peer can be passed on, and is
// still the same message then.
func FuzzFrame(f *testing.F) {
	f.Add(sample(f))
	f.Add(withBody(f, "a(y)", 1, 0, 0, 0, 0, 0, 0, 0, 9))
	f.Add(withBody(f, "a()", 8, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1))
	f.Add(withBody(f, "v", append(bytes.Repeat([]byte{1, 'v', 0}, 70), 1, 'y', 0, 0)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		raw, err := readFrame(bytes.NewReader(data))
		if err != nil {
			return
		}
		msg, err := parseFrame(raw)
		if err != nil || msg.setSender(":1.1") != nil {
			return
		}
		again, err := parseFrame(msg.raw)
		if err != nil {
			t.Fatalf("a stamped message is refused: %v", err)
		}
		if !bytes.Equal(again.body, msg.body) || again.serial != msg.serial || !reflect.DeepEqual(again.headers, msg.headers) {
			t.Errorf("message %v has become %v", msg, again)
		}
		if len(msg.signature()) < 16 { // deeply nested ones take godbus too long
			if _, err := msg.args(); err != nil {
				t.Errorf("what the checks let through cannot be decoded: %v", err)
			}
		}
	})
}
