package ldb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// packVersion begins the data of an ldb record (ldb's ldb_pack.c, version 1).
const packVersion = 0x26011967

var errShort = errors.New("it ends too early")

// reader takes items off the front of bytes, numbers in little-endian order.
// After the first that is not there all others are zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n uint32) []byte {
	if r.err != nil || uint64(n) > uint64(len(r.rest)) {
		r.rest, r.err = nil, errShort
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// data reads a length and as many bytes.
func (r *reader) data() []byte { return r.take(r.uint32()) }

// text reads up to a NUL, which is dropped.
func (r *reader) text() string {
	end := bytes.IndexByte(r.rest, 0)
	if end < 0 {
		r.rest, r.err = nil, errShort
		return ""
	}
	return string(r.take(uint32(end) + 1)[:end])
}

// record is one entry of the directory: its name and its attributes, each
// with its first value. No record of SSSD's secrets has more than one.
type record struct {
	dn         string
	attributes map[string][]byte
}

// unpack reads the data of a record.
func unpack(data []byte) (record, error) {
	r := reader{rest: data}
	version, elements := r.uint32(), r.uint32()
	if r.err == nil && version != packVersion {
		return record{}, fmt.Errorf("the record is packed as %#x, not %#x", version, uint32(packVersion))
	}
	entry := record{dn: r.text(), attributes: map[string][]byte{}}
	for ; elements > 0 && r.err == nil; elements-- {
		name := r.text()
		for i, values := uint32(0), r.uint32(); i < values && r.err == nil; i++ {
			value := r.data()
			r.take(1) // each value is followed by a NUL
			if i == 0 {
				entry.attributes[name] = value
			}
		}
	}
	if r.err != nil {
		return record{}, fmt.Errorf("record %q: %w", entry.dn, r.err)
	}
	return entry, nil
}
