// Package records is the binary form in which sssd_kcm and the secrets service
// exchange many records at once: each record is its key and its value, both
// preceded by their length as a big-endian 32-bit number.
package records

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// MediaType names this form in HTTP's Content-Type and Accept.
const MediaType = "application/vnd.gosssd.records"

// Fence is the header with the word of a load: one that a client makes up for
// each load of a user's records, and says again with each change that builds
// on it. After the next load such changes are refused.
const Fence = "Records-Fence"

// MaxKey is the longest key, in bytes.
const MaxKey = 4096

// deleted stands in place of a value's length in a record that deletes.
const deleted = 0xffffffff

// Record is one key and its value. A nil value deletes the key.
type Record struct {
	Key   string
	Value []byte
}

// ErrMalformed is wrapped by every error of Parse.
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

// Parse splits b into its records, in order. The values share b's memory.
func Parse(b []byte) ([]Record, error) {
	var all []Record
	for len(b) > 0 {
		key, rest, err := field(b, MaxKey)
		if err != nil {
			return nil, fmt.Errorf("key of record %d: %w", len(all), err)
		}
		var value []byte
		if len(rest) >= 4 && binary.BigEndian.Uint32(rest) == deleted {
			b = rest[4:]
		} else if value, b, err = field(rest, deleted-1); err != nil {
			return nil, fmt.Errorf("value of record %d: %w", len(all), err)
		}
		all = append(all, Record{Key: string(key), Value: value})
	}
	return all, nil
}

// ParseMap is Parse for records whose keys must differ.
func ParseMap(b []byte) (map[string][]byte, error) {
	all, err := Parse(b)
	if err != nil {
		return nil, err
	}
	m := make(map[string][]byte, len(all))
	for _, record := range all {
		if _, twice := m[record.Key]; twice {
			return nil, fmt.Errorf("%w: a key occurs twice", ErrMalformed)
		}
		m[record.Key] = record.Value
	}
	return m, nil
}

// field cuts one length-prefixed field off b.
func field(b []byte, longest uint32) (value, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: %d bytes where a length was expected", ErrMalformed, len(b))
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; n > longest || uint64(n) > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: length %d with %d bytes left", ErrMalformed, n, len(b))
	}
	return b[:n:n], b[n:], nil
}
