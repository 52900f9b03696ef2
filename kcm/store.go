package kcm

import "context"

// Store keeps the records of each owner (uid). Its methods may be called by
// many goroutines at once, Load and Commit of one owner by one at a time.
//
// An error with a method Quota() bool that returns true says that the store
// refused the change for its size or number, and has written nothing of it.
// After any other error of Commit the change may or may not have been written.
type Store interface {
	// Owners returns every owner that has records.
	Owners(ctx context.Context) ([]uint32, error)
	// Load returns all records of one owner by key; without any, an empty
	// map. The caller keeps the values.
	Load(ctx context.Context, uid uint32) (map[string][]byte, error)
	// Commit applies a change to the records of one owner, all of it or
	// nothing: a nil value deletes its key, any other is put. The change is
	// durable when Commit returns. The store may keep the values but not
	// write to them.
	Commit(ctx context.Context, uid uint32, changes map[string][]byte) error
	Close() error
}
