package kcm

import "context"

// Store keeps the records of each owner (uid). Its methods may be called by
// many goroutines at once, Load and Commit of one owner by one at a time.
//
// Some errors of Commit say more than that it failed, by a method that returns
// true. Quota() bool: the store refused the change for its size or number.
// Full() bool: there is no room on the disk. Stale() bool: somebody else has
// loaded the owner's records since, so that the change builds on what may be
// out of date. In all three cases nothing was written. After any other error
// the change may or may not have been written.
type Store interface {
	// Owners returns every owner that has records.
	Owners(ctx context.Context) ([]uint32, error)
	// Load calls each with every record of one owner, in any order. The
	// callee keeps the values. Load ends with the first error of each, and
	// returns it.
	Load(ctx context.Context, uid uint32, each func(key string, value []byte) error) error
	// Commit applies a change to the records of one owner, all of it or
	// nothing: a nil value deletes its key, any other is put. The change is
	// durable when Commit returns. The store may keep the values but not
	// write to them.
	Commit(ctx context.Context, uid uint32, changes map[string][]byte) error
	// Volatile reports whether what is stored is lost with the process.
	Volatile() bool
	Close() error
}
