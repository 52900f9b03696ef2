package vault

import (
	"errors"
)

// ownerID names one owner of records.
type ownerID struct {
	hive string
	uid  uint32
}

func (id ownerID) place(name []byte) place { return place{hive: id.hive, uid: id.uid, name: name} }

// snapshot reads a file in one state.
type snapshot struct {
	file    *file
	records reader
}

// owners lists who has records in a hive, in order.
func (s *snapshot) owners(hive string) []uint32 {
	var owners []uint32
	for _, group := range s.records.Groups(hiveBucket(hive)) {
		owners = append(owners, uidOf(group))
	}
	return owners
}

// each calls fn for the records of an owner in the order of their names on
// disk, without the summary. What it is given is valid during the call only.
func (s *snapshot) each(id ownerID, fn func(name, sealed []byte) error) error {
	return s.eachFrom(id, nil, fn)
}

func (s *snapshot) eachFrom(id ownerID, from []byte, fn func(name, sealed []byte) error) error {
	prefix := ownerName(id.uid)
	return s.records.Each(hiveBucket(id.hive), prefix, from, func(name, sealed []byte) error {
		if len(name) == len(prefix) {
			return nil
		}
		return fn(name, sealed)
	})
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
	return s.records.Get(hiveBucket(id.hive), name)
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
	return &OwnerError{File: s.file.store.Path(), UID: id.uid, What: what}
}
