// Package vault keeps records of users in one file, each sealed with
// AES-256-GCM and bound to its place. Records lie in hives; in a hive each
// user (uid) has his own keys. A change of any number of records of one user
// is made whole or not at all, and is on disk when the call returns.
//
// The vault knows owners, keys and sums; what it stands on (store.go) keeps
// named bytes in files and knows nothing of them: gosssd/secrets/vault/engine.
//
// Locks, in the order in which they are taken:
//
//	Vault.rekeying  the one rekey that may run
//	queue           the turn to write, held until the change is on disk
//	Vault.mu        for reading by all use of the file, for writing to replace it
//	the engine's    see its documentation
//	sealer.mu       held for moments, and nothing is taken under it
//
// What the file knows for writing (file.totals, file.cache) belongs to who has
// the turn.
//
// On disk a file tells which users have records, how many and how long; their
// keys and values are sealed. What is damaged is noticed, also when a record is
// missing, and is never taken for something else.
package vault

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"gosssd/secrets/vault/engine"
)

// Options says how a vault is opened.
type Options struct {
	// File is the name of the database: "secrets.db" or "kcm.db". The master
	// key of secrets.db is in .secrets.mkey beside it.
	File string
	// OwnerUID is who, besides root, the files may belong to.
	OwnerUID uint32
	// Credential is where systemd put the master key (LoadCredential=). It
	// then is used instead of the key file; records that are sealed under the
	// key file's are sealed again under it. "" if there is none.
	Credential string
	// Rules tell, for a hive, how its records add up; a hive without a rule
	// counts every record by itself.
	Rules map[string]Rule
	// LockTimeout is how long another process may still have the file open;
	// 0 means two seconds.
	LockTimeout time.Duration

	// Synced is told how long the disk took to make a change durable, and Stored
	// how long it took to bring changes into the database; nil: nobody asks.
	Synced, Stored func(took time.Duration)

	noSync      bool  // for tests that care for speed and not for crashes
	journalSize int64 // for tests that want to see it full; 0 means the usual
}

// Rule tells how a record adds up: unit is the thing it is part of, whose size
// is the sum of its records; counted records are what a hive's number of
// secrets counts.
type Rule func(key string) (unit string, counted bool)

func everyRecord(key string) (unit string, counted bool) { return key, true }

// Vault is an open database. It is safe for concurrent use.
type Vault struct {
	path  string
	opts  Options
	keys  keyFiles
	queue *queue

	mu      sync.RWMutex // held for reading by every transaction, for writing to replace file
	file    *file
	fileErr error // why there is no file, after it had to be given up
	seen    bool  // a file was opened

	rekeying chan struct{} // a slot for the one rekey that may run
	stop     context.CancelFunc
	running  sync.WaitGroup // a resumed rekey
}

// Open opens the vault opts.File in dir, and makes it if there is neither a
// database nor a key. Errors match ErrKey, ErrDamaged or ErrInUse where that is
// the reason; nothing has been changed then.
func Open(dir string, opts Options) (*Vault, error) {
	if opts.LockTimeout == 0 {
		opts.LockTimeout = 2 * time.Second
	}
	v := &Vault{
		path:     filepath.Join(dir, opts.File),
		opts:     opts,
		queue:    newQueue(),
		rekeying: make(chan struct{}, 1),
	}
	v.keys = keyFilesOf(v.path, opts)
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	f, err := v.open()
	if err != nil {
		return nil, fmt.Errorf("open vault: %w", err)
	}
	v.file = f
	ctx, stop := context.WithCancel(context.Background())
	v.stop = stop
	if f.sealer.rekeying() {
		v.running.Go(func() { v.resume(ctx) })
	}
	return v, nil
}

// Close ends the vault after the changes that were already handed to it.
func (v *Vault) Close() error {
	v.stop()
	if !v.queue.close() {
		return ErrClosed
	}
	v.running.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	if v.file != nil {
		err = v.file.store.Close()
	}
	v.file, v.fileErr = nil, ErrClosed
	return err
}

// Hive returns a hive of the vault. Closing it does not close the vault.
func (v *Vault) Hive(name string) *Hive {
	rule := v.opts.Rules[name]
	if rule == nil {
		rule = everyRecord
	}
	return &Hive{vault: v, name: name, rule: rule}
}

// OpenHive opens a vault for one of its hives; closing the hive closes the
// vault.
func OpenHive(dir, name string, opts Options) (*Hive, error) {
	v, err := Open(dir, opts)
	if err != nil {
		return nil, err
	}
	h := v.Hive(name)
	h.owns = true
	return h, nil
}

// read runs fn on the state of the last commit.
func (v *Vault) read(fn func(*snapshot) error) error {
	return v.use(func(f *file) error { return f.read(fn) })
}

// use runs fn on the file, opening it again if it was dropped. After an error
// that leaves it unknown what the disk or the engine holds, the file is
// dropped.
func (v *Vault) use(fn func(*file) error) error {
	if err := v.reopen(); err != nil {
		return err
	}
	v.mu.RLock()
	f := v.file
	err := v.fileErr
	if f != nil {
		err = fn(f)
	}
	v.mu.RUnlock()
	var doubt *engine.DoubtError
	if errors.As(err, &doubt) {
		v.drop(f, doubt)
	}
	return err
}

// reopen opens the file again if it was dropped.
func (v *Vault) reopen() error {
	v.mu.RLock()
	present := v.file != nil
	v.mu.RUnlock()
	if present {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file == nil && !errors.Is(v.fileErr, ErrClosed) {
		v.file, v.fileErr = v.open()
	}
	return v.fileErr
}

// drop closes a file, for the next call to open it again.
func (v *Vault) drop(f *file, cause error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.file != f {
		return
	}
	v.file, v.fileErr = nil, cause
	_ = f.store.Abandon() // what matters is why it is dropped
}
