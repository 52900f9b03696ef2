package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// Besides a bucket for each hive, a file has the bucket "file" with
//
//	format      formatName and a random salt, in clear
//	active      the id of the master key that new records are sealed under
//	journal     the generation of the journal's entries that the file lacks
//	key:<id>    the secrets of names, sealed under the master key id; there are
//	            two of these while a rekey is under way
//	hive:<name> the sum of the owners of a hive, sealed
var headBucket = []byte("file")

const (
	formatName = "gosssd vault 1\x00"
	saltLen    = 32

	formatKey  = "format"
	activeKey  = "active"
	keyPrefix  = "key:"
	hivePrefix = "hive:"
)

// hiveBucket is the name of a hive's bucket.
func hiveBucket(hive string) []byte { return []byte(hivePrefix + hive) }

// headPlace is the place of a record of the bucket "file".
func headPlace(name string) place { return place{name: []byte(name)} }

// format makes an empty vault in a new database.
func format(db *bbolt.DB, key masterKey) error {
	salt := make([]byte, saltLen)
	rand.Read(salt)
	secrets := make([]byte, namesLen)
	rand.Read(secrets)
	s := newSealer()
	if err := s.add(key, salt); err != nil {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		head, err := tx.CreateBucket(headBucket)
		if err != nil {
			return err
		}
		if err := head.Put([]byte(formatKey), append([]byte(formatName), salt...)); err != nil {
			return err
		}
		return activate(head.Put, s, key.id, secrets)
	})
}

// activate makes a master key the one that new records are sealed under.
func activate(put func(name, value []byte) error, s *sealer, id keyID, secrets []byte) error {
	name := keyPrefix + string(id[:])
	sealed, err := s.sealUnder(id, headPlace(name), secrets)
	if err != nil {
		return err
	}
	if err := put([]byte(name), sealed); err != nil {
		return err
	}
	return put([]byte(activeKey), id[:])
}

// unlock finds the master keys a file is sealed under, brings in what is in
// the journal, and checks the sums of its hives.
func (f *file) unlock(keys []masterKey, places keyFiles) error {
	return guard(f.path, func() error {
		var active keyID
		var sealedUnder []keyID
		err := f.db.View(func(tx *bbolt.Tx) (err error) {
			head := tx.Bucket(headBucket)
			if head == nil {
				return f.damage("it has no head")
			}
			active, sealedUnder, err = f.readHead(head, keys)
			return err
		})
		if err != nil {
			return err
		}
		if err := f.replay(); err != nil {
			return err
		}
		err = f.db.View(func(tx *bbolt.Tx) error { return f.readHives(tx, tx.Bucket(headBucket)) })
		if err != nil {
			return err
		}
		return f.settleKeys(active, sealedUnder, keys, places)
	})
}

// readHead makes the records of the file readable.
func (f *file) readHead(head *bbolt.Bucket, keys []masterKey) (active keyID, sealedUnder []keyID, err error) {
	salt, isVault := bytes.CutPrefix(head.Get([]byte(formatKey)), []byte(formatName))
	id := head.Get([]byte(activeKey))
	if !isVault || len(salt) != saltLen || len(id) != len(active) {
		return active, nil, f.damage("its head is not that of a vault of this version")
	}
	active = keyID(id)
	f.journal.salt = bytes.Clone(salt)
	if f.journal.generation, err = f.journal.decodeGeneration(head.Get([]byte(journalKey))); err != nil {
		return active, nil, f.damage("its head names a journal of no known form")
	}
	cursor := head.Cursor()
	for name, sealed := cursor.Seek([]byte(keyPrefix)); bytes.HasPrefix(name, []byte(keyPrefix)); name, sealed = cursor.Next() {
		if len(name) != len(keyPrefix)+len(active) {
			return active, nil, f.damage("its head names a key of no known form")
		}
		id := keyID(name[len(keyPrefix):])
		if err := f.readKey(id, string(name), sealed, salt, keys); err != nil {
			return active, nil, err
		}
		sealedUnder = append(sealedUnder, id)
	}
	if !slices.Contains(sealedUnder, active) {
		return active, nil, f.damage("its head names no key that is in use")
	}
	f.sealer.activate(active)
	return active, sealedUnder, nil
}

func (f *file) readKey(id keyID, name string, sealed, salt []byte, keys []masterKey) error {
	i := slices.IndexFunc(keys, func(k masterKey) bool { return k.id == id })
	if i < 0 {
		return f.wrongKey(id, keys)
	}
	if err := f.sealer.add(keys[i], salt); err != nil {
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
	return &KeyError{f.path, what, "put back the right key file, or move the database away to start with an empty one"}
}

func (f *file) damage(what string) error { return &DamageError{File: f.path, What: what} }

// settleKeys brings the key files and the keys in use together: it ends a
// rekey that was cut short before its very last step, and begins one to a new
// credential.
func (f *file) settleKeys(active keyID, sealedUnder []keyID, keys []masterKey, places keyFiles) error {
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
func (f *file) readHives(tx *bbolt.Tx, head *bbolt.Bucket) error {
	f.totals = map[string]*totals{}
	cursor := head.Cursor()
	for name, sealed := cursor.Seek([]byte(hivePrefix)); bytes.HasPrefix(name, []byte(hivePrefix)); name, sealed = cursor.Next() {
		hive := string(name[len(hivePrefix):])
		t, err := f.readHive(tx, hive, sealed)
		if err != nil {
			return err
		}
		f.totals[hive] = t
	}
	return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		hive, isHive := bytes.CutPrefix(name, []byte(hivePrefix))
		if !bytes.Equal(name, headBucket) && (!isHive || f.totals[string(hive)] == nil) {
			return f.damage("it has a part of no known name")
		}
		return nil
	})
}

func (f *file) readHive(tx *bbolt.Tx, hive string, sealed []byte) (*totals, error) {
	plain, err := f.sealer.open(headPlace(hivePrefix+hive), sealed)
	if err != nil {
		return nil, f.damage("the list of its owners does not open")
	}
	t := &totals{}
	if t.owners, err = decodeSummary(plain); err != nil || tx.Bucket(hiveBucket(hive)) == nil {
		return nil, f.damage("the list of its owners does not open")
	}
	var found summary
	s := &snapshot{file: f, tx: tx}
	for _, uid := range s.owners(hive) {
		found.records++
		found.sum.toggle(f.names.ownerMark(hive, uid))
		if owner, err := s.summary(ownerID{hive, uid}); err == nil {
			t.counted += owner.counted // of a damaged owner nothing is known
		}
	}
	if found.records != t.owners.records || found.sum != t.owners.sum {
		return nil, f.damage("it lacks the records of some owners, or has records of owners it should not")
	}
	return t, nil
}
