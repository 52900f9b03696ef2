package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"go.etcd.io/bbolt"
)

// ownerID names one owner of records.
type ownerID struct {
	hive string
	uid  uint32
}

func (id ownerID) place(name []byte) place { return place{hive: id.hive, uid: id.uid, name: name} }

// snapshot reads a file in the state of one transaction, with changes on top.
type snapshot struct {
	file *file
	tx   *bbolt.Tx
	over []changes // that the database lacks, the latest first
}

// read runs fn on the state of the last commit.
func (f *file) read(fn func(*snapshot) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return guard(f.path, func() error {
		return f.db.View(func(tx *bbolt.Tx) error { return fn(&snapshot{file: f, tx: tx, over: []changes{f.pending}}) })
	})
}

// record returns a record of a bucket as it is stored, nil if there is none.
func (s *snapshot) record(bucket, name []byte) []byte {
	for _, c := range s.over {
		if value, changed := c.get(bucket, name); changed {
			return value
		}
	}
	if b := s.tx.Bucket(bucket); b != nil {
		return b.Get(name)
	}
	return nil
}

// owners lists who has records in a hive.
func (s *snapshot) owners(hive string) []uint32 {
	var owners []uint32
	s.eachOwner(hive, func(uid uint32) {
		if !s.isChanged(hive, uid) || s.has(ownerID{hive, uid}) {
			owners = append(owners, uid)
		}
	})
	known := map[string]bool{}
	for _, c := range s.over {
		for g := range c {
			if g.bucket != string(hiveBucket(hive)) || known[g.owner] {
				continue
			}
			known[g.owner] = true
			uid := uidOf([]byte(g.owner))
			if !s.isStored(hive, uid) && s.has(ownerID{hive, uid}) {
				owners = append(owners, uid)
			}
		}
	}
	slices.Sort(owners)
	return owners
}

// eachOwner calls fn for those who have records in the database itself.
func (s *snapshot) eachOwner(hive string, fn func(uid uint32)) {
	bucket := s.tx.Bucket(hiveBucket(hive))
	if bucket == nil {
		return
	}
	cursor := bucket.Cursor()
	for name, _ := cursor.First(); len(name) >= 4; {
		uid := uidOf(name)
		fn(uid)
		if uid == 1<<32-1 {
			break
		}
		name, _ = cursor.Seek(ownerName(uid + 1))
	}
}

func (s *snapshot) isChanged(hive string, uid uint32) bool {
	for _, c := range s.over {
		if c[group{string(hiveBucket(hive)), string(ownerName(uid))}] != nil {
			return true
		}
	}
	return false
}

// isStored reports whether the database itself has records of an owner.
func (s *snapshot) isStored(hive string, uid uint32) bool {
	bucket := s.tx.Bucket(hiveBucket(hive))
	if bucket == nil {
		return false
	}
	name, _ := bucket.Cursor().Seek(ownerName(uid))
	return bytes.HasPrefix(name, ownerName(uid))
}

// errFound ends a walk.
var errFound = errors.New("found")

// has reports whether an owner has any record, be it only a summary.
func (s *snapshot) has(id ownerID) bool {
	return s.record(hiveBucket(id.hive), ownerName(id.uid)) != nil ||
		s.each(id, func(_, _ []byte) error { return errFound }) != nil
}

// each calls fn for every record of an owner, without the summary. What it is
// given is valid during the call only.
func (s *snapshot) each(id ownerID, fn func(name, sealed []byte) error) error {
	prefix := ownerName(id.uid)
	hive := hiveBucket(id.hive)
	own := group{string(hive), string(prefix)}
	for i, c := range s.over {
		for name, sealed := range c[own] {
			if sealed == nil || len(name) == len(prefix) || s.isOver(own, name, s.over[:i]) {
				continue
			}
			if err := fn([]byte(name), sealed); err != nil {
				return err
			}
		}
	}
	bucket := s.tx.Bucket(hive)
	if bucket == nil {
		return nil
	}
	cursor := bucket.Cursor()
	for name, sealed := cursor.Seek(prefix); bytes.HasPrefix(name, prefix); name, sealed = cursor.Next() {
		if len(name) == len(prefix) || s.isOver(own, string(name), s.over) {
			continue
		}
		if err := fn(name, sealed); err != nil {
			return err
		}
	}
	return nil
}

// isOver reports whether a record is changed in one of the layers.
func (s *snapshot) isOver(own group, name string, layers []changes) bool {
	for _, c := range layers {
		if _, changed := c[own][name]; changed {
			return true
		}
	}
	return false
}

// summary reads what an owner should have.
func (s *snapshot) summary(id ownerID) (summary, error) {
	name := ownerName(id.uid)
	sealed := s.sealed(id, name)
	if sealed == nil {
		return summary{}, nil
	}
	plain, err := s.file.sealer.open(id.place(name), sealed)
	if err != nil {
		return summary{}, s.damage(id, "the list of them does not open")
	}
	sum, err := decodeSummary(plain)
	if err != nil {
		return summary{}, s.damage(id, "the list of them does not open")
	}
	return sum, nil
}

// verify compares the records an owner has with what he should have, without
// opening them.
func (s *snapshot) verify(id ownerID) error {
	expected, err := s.summary(id)
	if err != nil {
		return err
	}
	var found summary
	err = s.each(id, func(name, sealed []byte) error { return s.add(&found, id, name, sealed) })
	if err != nil {
		return err
	}
	return s.compare(id, expected, found)
}

func (s *snapshot) add(found *summary, id ownerID, name, sealed []byte) error {
	if len(name) != 4+nameLen || len(sealed) < sealOverhead {
		return s.damage(id, "one is cut short")
	}
	found.records++
	found.sum.toggle(s.file.names.mark(name, sealed))
	return nil
}

func (s *snapshot) compare(id ownerID, expected, found summary) error {
	if found.records != expected.records || found.sum != expected.sum {
		return s.damage(id, "some are missing or not as they were written")
	}
	return nil
}

// get reads one record; nil means that there is none, which is certain.
func (s *snapshot) get(id ownerID, key string) ([]byte, error) {
	name := s.file.names.of(id.hive, id.uid, key)
	sealed := s.sealed(id, name)
	if sealed == nil {
		return nil, s.verify(id)
	}
	found, value, err := s.open(id, name, sealed)
	if err != nil {
		return nil, err
	}
	if found != key {
		return nil, s.damage(id, "one is not where it belongs")
	}
	return value, nil
}

func (s *snapshot) sealed(id ownerID, name []byte) []byte {
	return s.record(hiveBucket(id.hive), name)
}

// all reads every record of an owner and makes certain that they are those
// that are expected.
func (s *snapshot) all(id ownerID, expected summary, fn func(key string, value []byte)) error {
	var found summary
	err := s.each(id, func(name, sealed []byte) error {
		key, value, err := s.open(id, name, sealed)
		if err != nil {
			return err
		}
		fn(key, value)
		return s.add(&found, id, name, sealed)
	})
	if err != nil {
		return err
	}
	return s.compare(id, expected, found)
}

// open returns the key and the value of a record.
func (s *snapshot) open(id ownerID, name, sealed []byte) (key string, value []byte, err error) {
	plain, err := s.file.sealer.open(id.place(name), sealed)
	if err == nil {
		key, value, err = decodeRecord(plain)
	}
	if errors.Is(err, errUnsealed) {
		return "", nil, s.damage(id, "one does not open")
	}
	return key, value, err
}

func (s *snapshot) damage(id ownerID, what string) error {
	return &DamageError{File: s.file.path, What: what, Owner: &id.uid}
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
