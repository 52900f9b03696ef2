// Package engine keeps records in a file, durably: buckets of names and values
// in a bbolt database, behind a journal that makes most changes wait for the
// disk once instead of twice. It knows nothing of what the records mean.
//
// A change is made whole or not at all. What is damaged in the structure of the
// files is noticed before the database trusts it. When the disk is full,
// changes are refused and everything else goes on.
//
// Locks, in the order in which they are taken:
//
//	storing  held to bring something into the database
//	mu       held for reading by every View, for writing to change the overlay
//	         and the list of the journal's entries
package engine

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// Options says how a file is opened.
type Options struct {
	// OwnerUID is who, besides root, the files may belong to.
	OwnerUID uint32
	// LockTimeout is how long another process may still have the file open.
	LockTimeout time.Duration
	// NoSync leaves out every wait for the disk, for tests that care for speed
	// and not for crashes.
	NoSync bool
	// JournalSize is the size of a new journal in bytes; 0 means 1 MiB.
	JournalSize int64
	// Synced is told how long the disk took to make an entry of the journal
	// durable, and Stored how long a transaction of the database took; nil:
	// nobody asks.
	Synced, Stored func(took time.Duration)
}

// Head is the bucket that describes the file. It has, of the engine,
//
//	format   formatName and a random salt
//	journal  the position of the first entry that the database lacks
//
// and what else is put there.
const Head = "file"

const (
	formatRecord = "format"
	formatName   = "gosssd vault 1\x00"
	saltLen      = 32
)

var errStop = errors.New("stop") // ends a walk

// Engine is an open file. View may be called by many goroutines at once, Update
// by one at a time.
type Engine struct {
	path string
	opts Options
	db   *bbolt.DB
	disk *os.File // of the database, which closes it
	salt []byte

	file fileID
	size atomic.Int64 // of the database file, the largest that was seen

	storing         sync.Mutex
	heads, headsNow []byte // of the database, as they were written last, and as they are
	inUse           bool   // what the head says of the journal
	space           space

	ready bool // the journal is in use by this process; for Update only

	mu      sync.RWMutex
	journal *journal
	over    overlay

	doubt    atomic.Pointer[DoubtError] // why the engine must be opened again
	panicked atomic.Bool
	filled   chan struct{} // that there is something to bring into the database
	done     chan struct{}
	ended    atomic.Bool    // done is closed
	running  sync.WaitGroup // the goroutine that brings it in
}

// Create makes a file with what fill puts into it. A file that is already at
// path is left alone; the error then is fs.ErrExist.
func Create(path string, _ Options, fill func(d *Draft, salt []byte) error) error {
	return linux.Create(path, 0o600, func(f *os.File) error {
		db, err := openUnnamed(f)
		if err != nil {
			return err
		}
		salt := make([]byte, saltLen)
		rand.Read(salt)
		err = db.Update(func(tx *bbolt.Tx) error {
			d := &Draft{*newView(tx, nil)}
			d.own = changes{}
			d.Put(Head, []byte(formatRecord), append([]byte(formatName), salt...))
			if err := fill(d, salt); err != nil {
				return err
			}
			return d.own.applyTo(tx)
		})
		return errors.Join(err, db.Close())
	})
}

// Open opens a file that is there. Errors match ErrDamaged or ErrInUse where
// that is the reason; nothing has been changed then.
func Open(path string, opts Options) (*Engine, error) {
	db, disk, err := openDatabase(path, opts)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		path: path, opts: opts, db: db, disk: disk,
		journal: &journal{path: path + journalSuffix, opts: opts},
		filled:  make(chan struct{}, 1), done: make(chan struct{}),
	}
	err = e.guard(e.begin)
	if err != nil {
		return nil, errors.Join(err, e.abandon())
	}
	e.running.Go(e.storeFilled)
	return e, nil
}

// begin reads the head and the journal, and brings in what that has. A disk
// that takes no writes keeps nobody from reading.
func (e *Engine) begin() error {
	now, err := identifyOpen(e.disk)
	if err != nil {
		return fmt.Errorf("stat %s: %w", e.path, err)
	}
	if err := e.space.recall(e.disk); err != nil {
		return fmt.Errorf("stat %s: %w", e.path, err)
	}
	e.file = now.file
	e.size.Store(now.size)
	length := e.db.Info().PageSize + pageHeader + metaLen
	e.heads, e.headsNow = make([]byte, length), make([]byte, length)
	if err := e.remember(); err != nil {
		return err
	}
	var from position
	err = e.db.View(func(tx *bbolt.Tx) (err error) {
		head := tx.Bucket([]byte(Head))
		if head == nil {
			return e.damage("it has no head")
		}
		salt, isOurs := bytes.CutPrefix(head.Get([]byte(formatRecord)), []byte(formatName))
		if !isOurs || len(salt) != saltLen {
			return e.damage("its head is not that of a vault of this version")
		}
		e.salt = bytes.Clone(salt)
		if from, err = decodePosition(head.Get([]byte(positionName)), salt); err != nil {
			return e.damage(err.Error())
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.inUse = from.inUse
	e.journal.salt = e.salt
	e.over, err = e.journal.read(from)
	return err
}

// Path is where the file is.
func (e *Engine) Path() string { return e.path }

// Salt returns bytes that are the file's own.
func (e *Engine) Salt() []byte { return e.salt }

// View calls fn with the state of the last change.
func (e *Engine) View(fn func(*View) error) error {
	if err := e.intact(); err != nil {
		return err
	}
	return e.guard(func() error {
		e.mu.RLock()
		defer e.mu.RUnlock()
		return e.db.View(func(tx *bbolt.Tx) error { return fn(newView(tx, e.over)) })
	})
}

// Update makes the changes that fn puts into its draft; when it returns nil
// they are on disk. An error of fn is returned, and nothing is made. One that
// matches ErrFull means the same. A DoubtError means that the changes may or may
// not have been made.
//
// A change that is made alone sees a database that has everything, and goes
// straight into it.
func (e *Engine) Update(alone bool, fn func(*Draft) error) error {
	if err := e.untouched(); err != nil {
		return err
	}
	return e.guard(func() error {
		if err := e.prepare(alone); err != nil {
			return e.failed(err)
		}
		made, err := e.draft(fn)
		if err != nil || len(made) == 0 {
			return err
		}
		if err := e.admit(made); err != nil {
			return e.failed(err)
		}
		if size := sizeOf(made); !alone && size <= e.journal.size/2 {
			return e.failed(e.log(made, size))
		}
		return e.failed(e.direct(made))
	})
}

// draft returns the changes that fn makes.
func (e *Engine) draft(fn func(*Draft) error) (changes, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	made := changes{}
	err := e.db.View(func(tx *bbolt.Tx) error {
		d := &Draft{*newView(tx, e.over)}
		d.own = made
		return fn(d)
	})
	return made, err
}

// Wipe writes zeros over the journal, during or after a change that is made
// alone: the database has everything.
func (e *Engine) Wipe() error { return e.failed(e.journal.wipe()) }

// Close brings what is in the journal into the database, and closes both. A
// second call of Close or Abandon returns fs.ErrClosed.
func (e *Engine) Close() error {
	if !e.end() {
		return fs.ErrClosed
	}
	err := e.guard(e.finish)
	return errors.Join(err, e.abandon())
}

// Abandon closes the file after an error, as a crash would leave it.
func (e *Engine) Abandon() error {
	if !e.end() {
		return fs.ErrClosed
	}
	return e.abandon()
}

// end ends the goroutine, and reports whether that was still to be done.
func (e *Engine) end() bool {
	if !e.ended.CompareAndSwap(false, true) {
		return false
	}
	close(e.done)
	e.running.Wait()
	return true
}

// abandon closes the files. A database that panicked may hold its locks and is
// not asked; its mapping of the file is lost to the process, and keeps the
// descriptor open, so that the lock on it has to be given up.
func (e *Engine) abandon() error {
	if e.panicked.Load() {
		unlock := unix.Flock(int(e.disk.Fd()), unix.LOCK_UN)
		return errors.Join(e.journal.close(), unlock, e.disk.Close())
	}
	return errors.Join(e.journal.close(), e.db.Close())
}

func (e *Engine) damage(what string) error { return &DamageError{File: e.path, What: what} }

// failed sorts the errors of writing: what the disk refused was not made; after
// all others that is unknown.
func (e *Engine) failed(err error) error {
	var doubt *DoubtError
	var full *FullError
	switch {
	case err == nil, errors.As(err, &full):
		return err
	case errors.As(err, &doubt):
		e.doubt.Store(doubt)
		return err
	case isFull(err):
		return &FullError{File: e.path, Err: errnoOf(err)}
	}
	return e.doubted(fmt.Errorf("write %s: %w", e.path, err))
}

func errnoOf(err error) error {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		return errno
	}
	return err
}

// guard runs fn on the database. That panics, or faults in its mapping of the
// file, when a file that was right at the start is damaged by somebody else
// while it is open.
func (e *Engine) guard(fn func() error) (err error) {
	if doubt := e.doubt.Load(); doubt != nil {
		return doubt
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			e.panicked.Store(true)
			err = e.doubted(e.damage(fmt.Sprint(cause)))
		}
	}()
	return fn()
}
