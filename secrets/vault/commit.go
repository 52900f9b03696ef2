package vault

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// write makes the changes of a group. The error of each that was refused is in
// results; an error returned means that none was made, or that it is unknown.
func (f *file) write(group []*request, results []error) error {
	err := guard(f.path, func() error {
		alone := group[0].alone
		if alone {
			if err := f.empty(); err != nil {
				return err
			}
		}
		made, err := f.draft(group, results)
		if err != nil || made == nil {
			return err
		}
		if alone {
			return f.commit(made)
		}
		return f.log(made)
	})
	var doubt *doubtError
	if err != nil && !errors.As(err, &doubt) {
		return &doubtError{error: fmt.Errorf("write %s: %w", f.path, err)}
	}
	return err
}

// log makes changes durable in the journal, or in the database if the journal
// has no room.
func (f *file) log(made changes) error {
	logged, err := f.journal.append(made)
	if err != nil {
		return err
	}
	if !logged {
		return f.commit(made)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pending.merge(made)
	return nil
}

// commit brings what is in the journal, and then these changes, into the
// database. Readers wait: they would see some of it twice.
func (f *file) commit(made changes) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	generation := f.journal.generation + 1
	err := f.db.Update(func(tx *bbolt.Tx) error {
		for _, c := range []changes{f.pending, made} {
			if err := c.applyTo(tx); err != nil {
				return err
			}
		}
		return tx.Bucket(headBucket).Put([]byte(journalKey), f.journal.encodeGeneration(generation))
	})
	if err != nil {
		return err
	}
	f.pending = changes{}
	f.journal.restart(generation)
	return nil
}

// empty brings what is in the journal into the database.
func (f *file) empty() error {
	if len(f.pending) == 0 {
		return nil
	}
	return f.commit(nil)
}

// replay does so with a journal that another process left.
func (f *file) replay() (err error) {
	if f.pending, err = f.journal.read(); err != nil {
		return err
	}
	return f.empty()
}

func (c changes) applyTo(tx *bbolt.Tx) error {
	for g, records := range c {
		bucket, err := tx.CreateBucketIfNotExists([]byte(g.bucket))
		if err != nil {
			return err
		}
		for name, value := range records {
			if value == nil {
				err = bucket.Delete([]byte(name))
			} else {
				err = bucket.Put([]byte(name), value)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
