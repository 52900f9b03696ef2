package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"gosssd/secrets/vault/engine"
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
	var file *file
	err = v.changeAlone(ctx, func(b *batch) error {
		b.made, file = true, b.file
		return b.file.rekeyTo(b.writer, key)
	})
	if file == nil {
		return err // it has not begun
	}
	return file.rekeyBegun(key, err)
}

// beginRekey begins to seal records under another key, when the file is opened.
func (f *file) beginRekey(key masterKey) error {
	err := f.store.Update(true, func(w writer) error { return f.rekeyTo(w, key) })
	return f.rekeyBegun(key, err)
}

func (f *file) rekeyTo(w writer, key masterKey) error {
	if err := f.sealer.add(key, f.store.Salt()); err != nil {
		return err
	}
	return activate(w, f.sealer, key.id, f.names.secrets)
}

// rekeyBegun seals under the new key from now on, if the head says so.
func (f *file) rekeyBegun(key masterKey, err error) error {
	if err != nil {
		f.sealer.drop(key.id)
		return err
	}
	f.sealer.activate(key.id)
	return nil
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
	hive    string // where the next step begins
	name    []byte // of a record
	done    bool
	damaged error // of the owners that had to be left as they were

	records, bytes int // of this step
}

// errEnough ends a step of a rekey.
var errEnough = errors.New("enough for one step")

// step seals the next records again.
func (w *resealing) step(b *batch) error {
	w.records, w.bytes = 0, 0
	for _, bucket := range b.records.Buckets() {
		hive, isHive := strings.CutPrefix(bucket, hivePrefix)
		if !isHive || hive < w.hive {
			continue
		}
		if hive != w.hive {
			w.hive, w.name = hive, nil
		}
		for _, group := range b.records.Groups(bucket) {
			if len(w.name) > 0 && bytes.Compare(group, w.name[:len(group)]) < 0 {
				continue
			}
			err := w.owner(b, ownerID{hive, uidOf(group)})
			if errors.Is(err, errEnough) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
	w.done = true
	return nil
}

// owner walks on in the records of one owner.
func (w *resealing) owner(b *batch, id ownerID) error {
	type stored struct{ name, sealed []byte }
	var stale []stored
	end := b.records.Each(hiveBucket(id.hive), ownerName(id.uid), w.name, func(name, sealed []byte) error {
		if w.records >= resealRecords || w.bytes >= resealBytes {
			w.name = bytes.Clone(name)
			return errEnough
		}
		w.records++
		if !b.file.sealer.current(sealed) {
			w.bytes += len(sealed)
			stale = append(stale, stored{bytes.Clone(name), sealed})
		}
		return nil
	})
	for _, r := range stale {
		if err := w.record(b, id, r.name, r.sealed); err != nil {
			return err
		}
	}
	return end
}

// record seals one record again, or notes that its owner's are damaged.
func (w *resealing) record(b *batch, id ownerID, name, sealed []byte) error {
	o, err := b.owner(id)
	if err != nil {
		w.damaged = err
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
	if err := b.file.store.Wipe(); err != nil {
		return err
	}
	active := b.records.Get(engine.Head, []byte(activeKey))
	var old []string
	err := eachHead(b.records, keyPrefix, func(name string, _ []byte) error {
		if name[len(keyPrefix):] != string(active) {
			old = append(old, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range old {
		b.writer.Put(engine.Head, []byte(name), nil)
	}
	for hive := range b.file.totals {
		b.hives[hive] = true
	}
	b.made = true
	return nil
}
