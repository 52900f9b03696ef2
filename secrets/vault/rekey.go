package vault

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/bbolt"
)

// A rekey goes through these states, each durable before the next begins:
//
//  1. The new master key is in the key file with ".new" appended.
//  2. The head of the database names both keys; what is written from now on is
//     sealed under the new one.
//  3. Every record is sealed under the new key.
//  4. The journal, whose entries are in the database, is zeros, and the head
//     names the new key only.
//  5. The new key file has taken the place of the old one.
//
// A vault that is opened in state 2 or 3 goes on from there, one in state 4
// takes the last step. With a key from systemd the first and the last are the
// administrator's.

const (
	// resealRecords and resealBytes bound what one step of a rekey holds up
	// others for.
	resealRecords = 256
	resealBytes   = 1 << 20
)

// Rekey seals every record again under a new master key, while the vault is in
// use. When it returns nil the old key opens no record any more; what it opened
// before is on disk until the engine uses those pages again, or compacts the
// file. It may be called again after an error, and goes on where it was.
func (v *Vault) Rekey(ctx context.Context) error {
	select {
	case v.rekeying <- struct{}{}:
		defer func() { <-v.rekeying }()
	case <-ctx.Done():
		return ctx.Err()
	}
	underway, err := v.underway()
	if err != nil {
		return err
	}
	if !underway {
		if err := v.startRekey(ctx); err != nil {
			return fmt.Errorf("begin rekey: %w", err)
		}
	}
	return v.reseal(ctx)
}

// underway reports whether records are sealed under two keys.
func (v *Vault) underway() (yes bool, err error) {
	err = v.read(func(s *snapshot) error {
		yes = s.file.sealer.rekeying()
		return nil
	})
	return yes, err
}

func (v *Vault) startRekey(ctx context.Context) error {
	if v.opts.Credential != "" {
		return &KeyError{v.opts.Credential, "is a credential of systemd, which only an administrator can replace",
			"encrypt a new one, keep this one as its name with .old appended, and restart the service"}
	}
	key, err := v.keys.create(v.keys.next)
	if err != nil {
		return err
	}
	return v.changeAlone(ctx, func(b *batch) error {
		b.made = true
		return b.file.rekeyTo(b.tx, b.setHead, key)
	})
}

// beginRekey begins to seal records under another key, when the file is opened.
func (f *file) beginRekey(key masterKey) error {
	return f.db.Update(func(tx *bbolt.Tx) error { return f.rekeyTo(tx, tx.Bucket(headBucket).Put, key) })
}

func (f *file) rekeyTo(tx *bbolt.Tx, put func(name, value []byte) error, key masterKey) error {
	salt := bytes.Clone(tx.Bucket(headBucket).Get([]byte(formatKey))[len(formatName):])
	if err := f.sealer.add(key, salt); err != nil {
		return err
	}
	f.sealer.activate(key.id)
	return activate(put, f.sealer, key.id, f.names.secrets)
}

// resume goes on with a rekey that was cut short. What goes wrong is told by
// the next call of Rekey.
func (v *Vault) resume(ctx context.Context) {
	select {
	case v.rekeying <- struct{}{}:
		defer func() { <-v.rekeying }()
		if yes, err := v.underway(); yes && err == nil {
			_ = v.reseal(ctx)
		}
	case <-ctx.Done():
	}
}

// reseal goes from state 2 to the end.
func (v *Vault) reseal(ctx context.Context) error {
	walk := &resealing{}
	for !walk.done {
		err := v.changeAlone(ctx, walk.step)
		if err != nil {
			return fmt.Errorf("rekey: %w", err)
		}
	}
	if walk.damaged != nil {
		return fmt.Errorf("rekey cannot end, the old key is kept: %w", walk.damaged)
	}
	err := v.changeAlone(ctx, (*batch).endRekey)
	if err != nil {
		return fmt.Errorf("end rekey: %w", err)
	}
	if v.opts.Credential == "" {
		if err := v.keys.finish(); err != nil {
			return fmt.Errorf("end rekey: %w", err)
		}
	}
	return v.read(func(s *snapshot) error { s.file.sealer.forget(); return nil })
}

// resealing is the walk of a rekey over all records.
type resealing struct {
	bucket, name []byte // where the next step begins
	done         bool
	damaged      error // of the owners that had to be left as they were
}

// step seals the next records again. It finds them in the database, which has
// everything when a change is made alone.
func (w *resealing) step(b *batch) error {
	records, size := 0, 0
	cursor := b.tx.Cursor()
	for bucket, _ := cursor.Seek(append([]byte(hivePrefix), w.bucket...)); ; bucket, _ = cursor.Next() {
		hive, isHive := bytes.CutPrefix(bucket, []byte(hivePrefix))
		if !isHive {
			w.done = true
			return nil
		}
		if !bytes.Equal(hive, w.bucket) {
			w.bucket, w.name = bytes.Clone(hive), nil
		}
		more, err := w.hive(b, &records, &size)
		if err != nil || more {
			return err
		}
	}
}

// hive walks on in one hive. It reports whether the step ended before the hive
// did.
func (w *resealing) hive(b *batch, records, size *int) (more bool, err error) {
	hive := string(w.bucket)
	type record struct{ name, sealed []byte }
	var stale []record
	cursor := b.tx.Bucket(hiveBucket(hive)).Cursor()
	for name, sealed := cursor.Seek(w.name); name != nil; name, sealed = cursor.Next() {
		if *records >= resealRecords || *size >= resealBytes {
			w.name, more = bytes.Clone(name), true
			break
		}
		*records++
		if !b.file.sealer.current(sealed) {
			*size += len(sealed)
			stale = append(stale, record{bytes.Clone(name), sealed})
		}
	}
	for _, r := range stale {
		if err := w.record(b, hive, r.name, r.sealed); err != nil {
			return false, err
		}
	}
	return more, nil
}

// record seals one record again, or notes that its owner's are damaged.
func (w *resealing) record(b *batch, hive string, name, sealed []byte) error {
	id := ownerID{hive, uidOf(name)}
	o, refused, failed := b.owner(id)
	if failed != nil {
		return failed
	}
	if refused != nil {
		w.damaged = refused
		return nil
	}
	b.made = true
	if len(name) == len(ownerName(0)) {
		o.reseal = true
		return nil
	}
	plain, err := b.file.sealer.open(id.place(name), sealed)
	if err != nil {
		w.damaged = b.damage(id, "one does not open")
		return nil
	}
	defer clear(plain)
	again, err := b.file.sealer.seal(id.place(name), plain)
	if err != nil {
		return err
	}
	o.summary.sum.toggle(b.file.names.mark(name, sealed))
	o.summary.sum.toggle(b.file.names.mark(name, again))
	b.set(id, name, again)
	return nil
}

// endRekey leaves the head with the active key only, and nothing in the journal
// that another opens.
func (b *batch) endRekey() error {
	if err := b.file.journal.wipe(); err != nil {
		return err
	}
	head := b.tx.Bucket(headBucket)
	active := head.Get([]byte(activeKey))
	var old [][]byte
	cursor := head.Cursor()
	for name, _ := cursor.Seek([]byte(keyPrefix)); bytes.HasPrefix(name, []byte(keyPrefix)); name, _ = cursor.Next() {
		if !bytes.Equal(name[len(keyPrefix):], active) {
			old = append(old, bytes.Clone(name))
		}
	}
	for _, name := range old {
		if err := b.setHead(name, nil); err != nil {
			return err
		}
	}
	for hive := range b.file.totals {
		b.hives[hive] = true
	}
	b.made = true
	return nil
}
