package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gosssd/secrets/vault/engine"
)

// file is the open database: the store, the keys to what is in it, and what the
// writer knows about it.
type file struct {
	store  store
	sealer *sealer
	names  *names
	rules  map[string]Rule
	totals map[string]totals  // by hive
	cache  map[ownerID]*units // of owners that were written to
}

// open opens the database. It makes one if nothing is there yet, but not where
// this vault has seen one: its directory may have been unmounted.
func (v *Vault) open() (*file, error) {
	keys, err := v.keys.load()
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(v.path); errors.Is(err, fs.ErrNotExist) {
		if v.seen {
			return nil, &engine.GoneError{File: v.path}
		}
		if keys, err = v.create(keys); err != nil {
			return nil, err
		}
	}
	e, err := engine.Open(v.path, v.opts.engine())
	if err != nil {
		return nil, err
	}
	f := newFile(onDisk{e}, v.opts.Rules)
	if err := f.unlock(keys, v.keys); err != nil {
		return nil, errors.Join(err, e.Abandon())
	}
	if err := removeLeftovers(v.path, v.keys.current, v.keys.next); err != nil {
		return nil, errors.Join(err, e.Abandon())
	}
	v.seen = true
	return f, nil
}

func newFile(s store, rules map[string]Rule) *file {
	return &file{store: s, sealer: newSealer(), rules: rules, totals: map[string]totals{}, cache: map[ownerID]*units{}}
}

func (o Options) engine() engine.Options {
	return engine.Options{OwnerUID: o.OwnerUID, LockTimeout: o.LockTimeout, NoSync: o.noSync, JournalSize: o.journalSize, Synced: o.Synced, Stored: o.Stored}
}

// create makes an empty database under the master key there is, or a new one.
func (v *Vault) create(keys []masterKey) ([]masterKey, error) {
	if len(keys) == 0 {
		key, err := v.keys.create(v.keys.current)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	err := engine.Create(v.path, v.opts.engine(), func(d *engine.Draft, salt []byte) error {
		return format(d, salt, keys[0])
	})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", v.path, err)
	}
	return keys, nil
}

// read runs fn on the state of the last commit.
func (f *file) read(fn func(*snapshot) error) error {
	return f.store.View(func(r reader) error { return fn(&snapshot{file: f, records: r}) })
}

// write makes the changes of a group. The error of each that was refused is in
// results; an error returned means that none was made, or that it is unknown.
func (f *file) write(group []*pending, results []error) error {
	b := &batch{owners: map[ownerID]*owner{}, hives: map[string]bool{}, totals: map[string]totals{}}
	err := f.store.Update(group[0].alone, func(w writer) error {
		b.snapshot, b.writer = snapshot{file: f, records: w}, w
		for i, r := range group {
			refused, failed := r.apply(b)
			if failed != nil {
				return failed
			}
			results[i] = refused
		}
		if !b.made {
			return nil
		}
		return b.finish()
	})
	b.end(err == nil)
	return err
}
