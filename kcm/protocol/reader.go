package protocol

import (
	"bytes"
	"encoding/binary"
)

// Reader takes items off the front of a byte slice. After the first item that
// is not there every further one is zero, and Err says so; a caller reads all
// it expects and asks once. What it returns shares the bytes it was given.
type Reader struct {
	rest []byte
	err  error
}

// NewReader returns a Reader of b.
func NewReader(b []byte) Reader { return Reader{rest: b} }

// Err returns ErrMalformed if an item was missing or wrong.
func (r *Reader) Err() error { return r.err }

// Len returns the number of bytes that have not been read.
func (r *Reader) Len() int { return len(r.rest) }

func (r *Reader) fail() {
	r.err = ErrMalformed
	r.rest = nil
}

// take returns the next n bytes, or nil.
func (r *Reader) take(n int) []byte {
	if n > len(r.rest) {
		r.fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// Rest reads all that is left.
func (r *Reader) Rest() []byte { return r.take(len(r.rest)) }

// Uint8 reads one byte.
func (r *Reader) Uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// Uint16 reads a big-endian number.
func (r *Reader) Uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

// Uint32 reads a big-endian number.
func (r *Reader) Uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// Int32 reads a big-endian number.
func (r *Reader) Int32() int32 { return int32(r.Uint32()) }

// Data reads a 32-bit length and as many bytes.
func (r *Reader) Data() []byte {
	n := r.Uint32()
	if int64(n) > int64(len(r.rest)) {
		r.fail()
		return nil
	}
	return r.take(int(n))
}

// since returns what has been read of before, or nil after an error.
func (r *Reader) since(before []byte) []byte {
	if r.err != nil {
		return nil
	}
	size := len(before) - len(r.rest)
	return before[:size:size]
}

// count reads the number of items that follow, each of at least size bytes.
// A number the remaining bytes cannot hold is refused here, before anything
// is allocated for it.
func (r *Reader) count(size int) int {
	n := r.Uint32()
	if n > MaxItems || int(n)*size > len(r.rest) {
		r.fail()
		return 0
	}
	return int(n)
}

// Name reads the name of a cache: any bytes up to a NUL, which is dropped.
func (r *Reader) Name() []byte {
	end := bytes.IndexByte(r.rest, 0)
	if end < 0 {
		r.fail()
		return nil
	}
	name := r.rest[:end:end]
	r.rest = r.rest[end+1:]
	return name
}

// UUID reads the 16 bytes that identify a cache or credential.
func (r *Reader) UUID() UUID {
	var id UUID
	copy(id[:], r.take(len(id)))
	return id
}

// AppendName appends the name of a cache and its NUL.
func AppendName(b []byte, name string) []byte {
	return append(append(b, name...), 0)
}

// AppendData appends data behind its 32-bit length.
func AppendData(b, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
}
