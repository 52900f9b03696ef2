// Package records is the protocol between sssd_kcm and the secrets service:
// what both say on a connection after an HTTP upgrade. It is a codec only;
// secrets/README.md describes the protocol.
package records

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MaxKey is the longest key of a record, in bytes.
const MaxKey = 4096

// deleted stands in place of a value's length in a record that deletes.
const deleted = 0xffffffff

// Record is one key and its value. A nil value deletes the key.
type Record struct {
	Key   string
	Value []byte
}

// ErrMalformed is wrapped by every error that tells of bytes which are not of
// this protocol.
var ErrMalformed = errors.New("malformed records")

// Append appends one record to dst. A nil value deletes the key.
func Append(dst []byte, key string, value []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(key)))
	dst = append(dst, key...)
	if value == nil {
		return binary.BigEndian.AppendUint32(dst, deleted)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
	return append(dst, value...)
}

// Size is the number of bytes Append adds for a record.
func Size(key string, value []byte) int { return 8 + len(key) + len(value) }

// Cut cuts the first record off b, which must not be empty. The value shares
// b's memory.
func Cut(b []byte) (record Record, rest []byte, err error) {
	key, rest, err := cutField(b, MaxKey)
	if err != nil {
		return Record{}, nil, fmt.Errorf("key of a record: %w", err)
	}
	if len(rest) >= 4 && binary.BigEndian.Uint32(rest) == deleted {
		return Record{Key: string(key)}, rest[4:], nil
	}
	value, rest, err := cutField(rest, deleted-1)
	if err != nil {
		return Record{}, nil, fmt.Errorf("value of a record: %w", err)
	}
	return Record{Key: string(key), Value: value}, rest, nil
}

// ParseMap splits b into its records, whose keys must differ. The values share
// b's memory.
func ParseMap(b []byte) (map[string][]byte, error) {
	all := map[string][]byte{}
	for len(b) > 0 {
		record, rest, err := Cut(b)
		if err != nil {
			return nil, err
		}
		if _, twice := all[record.Key]; twice {
			return nil, fmt.Errorf("%w: a key occurs twice", ErrMalformed)
		}
		all[record.Key] = record.Value
		b = rest
	}
	return all, nil
}

// cutField cuts one length-prefixed field off b.
func cutField(b []byte, longest uint32) (field, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: %d bytes where a length was expected", ErrMalformed, len(b))
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; n > longest || uint64(n) > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: length %d with %d bytes left", ErrMalformed, n, len(b))
	}
	return b[:n:n], b[n:], nil
}
