package engine

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"gosssd/linux"
)

// These bound what is brought into the database at once, and so how long a
// change waits that meets it. What counts is what is written: records that a
// later entry changes again cost nothing, and those of one group lie in pages
// that are written once.
const (
	pieceBytes   = 48 << 10
	groupBytes   = 4 << 10 // what a group costs besides its records: a page at least
	pieceEntries = 256     // to be looked at
)

// prepare makes the journal ready for a change, and empties it for one that is
// made alone.
func (e *Engine) prepare(alone bool) error {
	if !e.ready {
		if err := e.takeOver(); err != nil {
			return err
		}
		e.ready = true
	}
	if !e.journal.isThere() || e.journal.at.number > maxNumber {
		e.ready = false // until the journal that follows is in use
		if err := e.takeOver(); err != nil {
			return err
		}
		e.ready = true
	}
	if alone {
		return e.drain()
	}
	return nil
}

// takeOver brings everything into the database, and notes in it that a journal
// is in use, with a new generation: what another process left is not added to.
func (e *Engine) takeOver() error {
	if err := e.settle(); err != nil {
		return err
	}
	if err := e.drain(); err != nil {
		return err
	}
	if !e.journal.isThere() || e.journal.size < journalAlign {
		if err := e.makeJournal(); err != nil {
			return err
		}
	}
	return e.store(nil, position{
		generation: e.journal.at.generation + 1, size: e.journal.size, inUse: e.journal.file != nil,
	})
}

// settle makes durable what is there, before anything is built on it. The process
// before this one may have been killed, or have met an error, between a write
// and the end of its sync. After an error the system may take what it holds of
// the file for written, and a sync alone would do nothing: so the heads are
// written again. The names of the files, and the file's place after it was
// compacted, are the directory's.
func (e *Engine) settle() error {
	if e.opts.NoSync {
		return nil
	}
	e.storing.Lock()
	defer e.storing.Unlock()
	if err := e.unwritten(); err != nil {
		return err
	}
	if _, err := e.disk.WriteAt(e.heads, 0); err != nil {
		return e.uncommitted(err)
	}
	if err := e.disk.Sync(); err != nil {
		return &DoubtError{err}
	}
	return linux.SyncDir(filepath.Dir(e.path))
}

// makeJournal makes a new journal. If the disk has no room for it, the database
// is used without one.
func (e *Engine) makeJournal() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.journal.make()
	if isFull(err) {
		return e.journal.close()
	}
	return err
}

// finish brings everything into the database, and notes that no journal is in
// use.
func (e *Engine) finish() error {
	if err := e.drain(); err != nil {
		return e.failed(err)
	}
	if !e.inUse {
		return nil
	}
	return e.failed(e.store(nil, position{generation: e.journal.at.generation + 1}))
}

// log makes changes durable in the journal.
func (e *Engine) log(made changes, size int64) error {
	for {
		e.mu.RLock()
		at, empty := e.journal.place(size), len(e.journal.entries) == 0
		e.mu.RUnlock()
		if at >= 0 {
			return e.append(made, at)
		}
		if empty {
			return e.direct(made)
		}
		if err := e.storePiece(); err != nil {
			return err
		}
	}
}

// append writes an entry at a place that is free.
func (e *Engine) append(made changes, at int64) error {
	j := e.journal
	j.encode(made)
	defer func() { clear(j.buf) }()
	if _, err := j.file.WriteAt(j.buf, at); err != nil {
		if isFull(err) {
			return &FullError{File: j.path, Err: errnoOf(err)}
		}
		return err
	}
	if err := j.sync(); err != nil {
		return &DoubtError{err} // the entry may be there
	}
	e.mu.Lock()
	e.over.add(made, j.at.number)
	j.note(made, at, aligned(int64(len(j.buf))))
	full := j.used > j.size/4
	e.mu.Unlock()
	if full {
		select {
		case e.filled <- struct{}{}:
		default: // it was said already
		}
	}
	return nil
}

// direct brings everything into the database, and then these changes.
func (e *Engine) direct(made changes) error {
	if err := e.drain(); err != nil {
		return err
	}
	return e.store(made, e.position())
}

// storeFilled brings in what is in the journal when that fills up, while
// changes go on.
func (e *Engine) storeFilled() {
	for {
		select {
		case <-e.filled:
		case <-e.done:
			return
		}
		for e.overfull() {
			err := e.guard(func() error { return e.failed(e.storePiece()) })
			var full *FullError
			if errors.As(err, &full) {
				break // the next change that finds no room is told
			}
			if err != nil {
				return // the engine is in doubt, which the next call says
			}
		}
	}
}

// overfull reports whether more than a quarter of the journal is in use.
func (e *Engine) overfull() bool {
	select {
	case <-e.done:
		return false
	default:
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.journal.used > e.journal.size/4
}

// drain brings everything that is in the journal into the database.
func (e *Engine) drain() error {
	for {
		e.mu.RLock()
		left := len(e.journal.entries)
		e.mu.RUnlock()
		if left == 0 {
			return nil
		}
		if err := e.storePiece(); err != nil {
			return err
		}
	}
}

// storePiece brings the oldest entries of the journal into the database.
func (e *Engine) storePiece() error {
	e.storing.Lock()
	defer e.storing.Unlock()
	e.mu.RLock()
	n, due := 0, changes{}
	var size, cost int64
	for n < len(e.journal.entries) && n < pieceEntries && cost < pieceBytes {
		cost += e.over.addDue(due, e.journal.entries[n])
		size += e.journal.entries[n].bytes
		n++
	}
	piece := e.journal.entries[:n]
	next := e.positionAfter(n)
	e.mu.RUnlock()
	if n == 0 {
		return nil // somebody else brought them in
	}
	if err := e.commit(due, next); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over.removeUpTo(due, piece[n-1].number)
	e.journal.entries = e.journal.entries[n:]
	e.journal.used -= size
	return nil
}

// position is that of the first entry that the database lacks.
func (e *Engine) position() position {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.positionAfter(0)
}

// positionAfter is the same without the first n entries.
func (e *Engine) positionAfter(n int) position {
	p := e.journal.at
	p.size, p.inUse = e.journal.size, e.journal.file != nil
	left := e.journal.entries[n:]
	if len(left) == 0 {
		return p
	}
	p.number = left[0].number
	if p.offset = left[0].end - left[0].bytes; p.offset < 0 {
		p.offset += e.journal.size
	}
	return p
}

// store commits changes that are not in the journal, and a position. Everything
// in the journal is in the database.
func (e *Engine) store(made changes, at position) error {
	e.storing.Lock()
	defer e.storing.Unlock()
	if err := e.commit(made, at); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.journal.at = at
	return nil
}

// commit is one transaction of the database. The caller holds storing.
func (e *Engine) commit(made changes, at position) error {
	if err := e.unwritten(); err != nil {
		return err
	}
	if err := e.reserve(made); err != nil {
		return err
	}
	if e.opts.Stored != nil {
		began := time.Now()
		defer func() { e.opts.Stored(time.Since(began)) }()
	}
	err := e.db.Update(func(tx *bbolt.Tx) error {
		if err := made.applyTo(tx); err != nil {
			return err
		}
		return tx.Bucket([]byte(Head)).Put([]byte(positionName), at.encode(e.salt))
	})
	if err != nil {
		return e.uncommitted(err)
	}
	e.inUse = at.inUse
	return e.remember()
}

// uncommitted sorts the errors of a transaction. Whatever the disk refused, the
// transaction was not made as long as no new head is in the file. A head that
// was written and not synced may be there after a crash or not, and the database
// already sees it. The caller holds storing.
func (e *Engine) uncommitted(err error) error {
	if failed := e.readHeads(e.headsNow); failed != nil || !bytes.Equal(e.headsNow, e.heads) {
		return &DoubtError{fmt.Errorf("write %s: %w", e.path, err)}
	}
	return err
}
