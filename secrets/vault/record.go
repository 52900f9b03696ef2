package vault

import (
	"encoding/binary"
)

// record is a change of one record that is sealed already: that is done before
// it is the change's turn, so that others do not wait for it.
type record struct {
	key    string
	value  []byte // nil deletes
	rule   Rule
	by     *file
	name   []byte // on disk
	sealed []byte
}

// seal makes changes ready to be written.
func (v *Vault) seal(id ownerID, changes map[string][]byte, rule Rule) (records []record, err error) {
	err = v.use(func(f *file) error {
		records = make([]record, 0, len(changes))
		for key, value := range changes {
			r, err := f.seal(id, key, value, rule)
			if err != nil {
				return err
			}
			records = append(records, r)
		}
		return nil
	})
	return records, err
}

func (f *file) seal(id ownerID, key string, value []byte, rule Rule) (r record, err error) {
	r = record{key: key, value: value, rule: rule, by: f, name: f.names.of(id.hive, id.uid, key)}
	if value == nil {
		return r, nil
	}
	plain := encodeRecord(key, value)
	defer clear(plain)
	r.sealed, err = f.sealer.seal(id.place(r.name), plain)
	return r, err
}

// A record, before it is sealed, is the length of its key, the key, and the
// value.
const recordHeader = 2

func encodeRecord(key string, value []byte) []byte {
	plain := make([]byte, recordHeader, recordHeader+len(key)+len(value))
	binary.BigEndian.PutUint16(plain, uint16(len(key)))
	plain = append(plain, key...)
	return append(plain, value...)
}

func decodeRecord(plain []byte) (key string, value []byte, err error) {
	if len(plain) < recordHeader {
		return "", nil, errUnsealed
	}
	n := recordHeader + int(binary.BigEndian.Uint16(plain))
	if n > len(plain) {
		return "", nil, errUnsealed
	}
	return string(plain[recordHeader:n]), plain[n:len(plain):len(plain)], nil
}

// valueSize is the size of the value in a sealed record with a key.
func valueSize(key string, sealed []byte) int64 {
	return int64(len(sealed) - sealOverhead - recordHeader - len(key))
}
