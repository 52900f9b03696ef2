package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"gosssd/secrets/vault/engine"
)

// Besides a bucket for each hive, a file has the engine's bucket engine.Head,
// which holds for the vault
//
//	active      the id of the master key that new records are sealed under
//	key:<id>    the secrets of names, sealed under the master key id; there are
//	            two of these while a rekey is under way
//	hive:<name> the sum of the owners of a hive, sealed
const (
	activeKey  = "active"
	keyPrefix  = "key:"
	hivePrefix = "hive:"
)

// hiveBucket is the name of a hive's bucket.
func hiveBucket(hive string) string { return hivePrefix + hive }

// headPlace is the place of a record of the bucket engine.Head.
func headPlace(name string) place { return place{name: []byte(name)} }

// format makes an empty vault.
func format(w writer, salt []byte, key masterKey) error {
	secrets := make([]byte, namesLen)
	rand.Read(secrets)
	s := newSealer()
	if err := s.add(key, salt); err != nil {
		return err
	}
	return activate(w, s, key.id, secrets)
}

// activate makes a master key the one that new records are sealed under.
func activate(w writer, s *sealer, id keyID, secrets []byte) error {
	name := keyPrefix + string(id[:])
	sealed, err := s.sealUnder(id, headPlace(name), secrets)
	if err != nil {
		return err
	}
	w.Put(engine.Head, []byte(name), sealed)
	w.Put(engine.Head, []byte(activeKey), id[:])
	return nil
}

// eachHead calls fn for the records of the head that begin with a prefix.
func eachHead(r reader, prefix string, fn func(name string, value []byte) error) error {
	return r.Each(engine.Head, []byte(prefix[:engine.GroupLen]), []byte(prefix), func(name, value []byte) error {
		if !bytes.HasPrefix(name, []byte(prefix)) {
			return nil
		}
		return fn(string(name), value)
	})
}

// unlock finds the master keys a file is sealed under, and checks the sums of
// its hives.
func (f *file) unlock(keys []masterKey, places keyFiles) error {
	var active keyID
	var sealedUnder []keyID
	err := f.store.View(func(r reader) (err error) {
		if active, sealedUnder, err = f.readHead(r, keys); err != nil {
			return err
		}
		return f.readHives(r)
	})
	if err != nil {
		return err
	}
	return f.matchKeys(active, sealedUnder, keys, places)
}

// readHead makes the records of the file readable.
func (f *file) readHead(r reader, keys []masterKey) (active keyID, sealedUnder []keyID, err error) {
	id := r.Get(engine.Head, []byte(activeKey))
	if len(id) != len(active) {
		return active, nil, f.damage("its head is not that of a vault of this version")
	}
	active = keyID(id)
	err = eachHead(r, keyPrefix, func(name string, sealed []byte) error {
		if len(name) != len(keyPrefix)+len(active) {
			return f.damage("its head names a key of no known form")
		}
		id := keyID([]byte(name[len(keyPrefix):]))
		sealedUnder = append(sealedUnder, id)
		return f.readKey(id, name, sealed, keys)
	})
	if err != nil {
		return active, nil, err
	}
	if !slices.Contains(sealedUnder, active) {
		return active, nil, f.damage("its head names no key that is in use")
	}
	f.sealer.activate(active)
	return active, sealedUnder, nil
}

func (f *file) readKey(id keyID, name string, sealed []byte, keys []masterKey) error {
	i := slices.IndexFunc(keys, func(k masterKey) bool { return k.id == id })
	if i < 0 {
		return f.wrongKey(id, keys)
	}
	if err := f.sealer.add(keys[i], f.store.Salt()); err != nil {
		return err
	}
	secrets, err := f.sealer.open(headPlace(name), sealed)
	if err == nil {
		f.names, err = newNames(secrets)
	}
	if err != nil {
		return f.damage("its head does not open")
	}
	return nil
}

func (f *file) wrongKey(id keyID, keys []masterKey) error {
	what := fmt.Sprintf("is sealed under master key %s, and there is no key file", id)
	if len(keys) > 0 {
		what = fmt.Sprintf("is sealed under master key %s, but %s holds %s", id, keys[0].path, keys[0].id)
	}
	return &KeyError{f.store.Path(), what, "put back the right key file, or move the database away to start with an empty one"}
}

func (f *file) damage(what string) error { return &DamageError{File: f.store.Path(), What: what} }

// matchKeys brings the key files and the keys in use together: it ends a
// rekey that was cut short before its very last step, and begins one to a new
// credential.
func (f *file) matchKeys(active keyID, sealedUnder []keyID, keys []masterKey, places keyFiles) error {
	if len(sealedUnder) > 1 || keys[0].id == active {
		return nil
	}
	i := slices.IndexFunc(keys, func(k masterKey) bool { return k.id == active })
	if keys[i].path == places.next && places.credential == "" {
		return places.finish()
	}
	return f.beginRekey(keys[0])
}

// summary tells which records there are of one owner, or which owners of one
// hive.
type summary struct {
	records uint64
	counted uint64
	sum     mark
}

func (s summary) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, s.records)
	b = binary.BigEndian.AppendUint64(b, s.counted)
	return append(b, s.sum[:]...)
}

func decodeSummary(b []byte) (s summary, err error) {
	if len(b) != 32 {
		return s, errUnsealed
	}
	return summary{
		records: binary.BigEndian.Uint64(b),
		counted: binary.BigEndian.Uint64(b[8:]),
		sum:     mark(b[16:]),
	}, nil
}

// totals is what the writer keeps of a hive. For the hive as a whole, counted
// is not kept on disk but added up from its owners.
type totals struct {
	owners  summary
	counted uint64
}

// readHives reads the sums of all hives and compares them with the owners
// there are.
func (f *file) readHives(r reader) error {
	err := eachHead(r, hivePrefix, func(name string, sealed []byte) error {
		hive := name[len(hivePrefix):]
		t, err := f.readHive(r, hive, sealed)
		f.totals[hive] = t
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range r.Buckets() {
		_, known := f.totals[strings.TrimPrefix(name, hivePrefix)]
		if name != engine.Head && (!strings.HasPrefix(name, hivePrefix) || !known) {
			return f.damage("it has a part of no known name")
		}
	}
	return nil
}

func (f *file) readHive(r reader, hive string, sealed []byte) (t totals, err error) {
	plain, err := f.sealer.open(headPlace(hivePrefix+hive), sealed)
	if err == nil {
		t.owners, err = decodeSummary(plain)
	}
	if err != nil || !slices.Contains(r.Buckets(), hiveBucket(hive)) {
		return t, f.damage("the list of its owners does not open")
	}
	var found summary
	s := &snapshot{file: f, records: r}
	for _, uid := range s.owners(hive) {
		found.records++
		found.sum.toggle(f.names.ownerMark(hive, uid))
		if owner, err := s.summary(ownerID{hive, uid}); err == nil {
			t.counted += owner.counted // of a damaged owner nothing is known
		}
	}
	if found.records != t.owners.records || found.sum != t.owners.sum {
		return t, f.damage("it lacks the records of some owners, or has records of owners it should not")
	}
	return t, nil
}
