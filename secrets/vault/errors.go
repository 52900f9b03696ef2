package vault

import (
	"errors"
	"fmt"
)

var (
	// ErrDamaged is matched by errors that tell of a file, or of one owner's
	// records in it, that is not as the vault wrote it.
	ErrDamaged = errors.New("damaged")
	// ErrKey is matched by errors that tell of a master key that is missing,
	// cannot be trusted, or is not the one a file was sealed under.
	ErrKey = errors.New("master key")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the vault is closed")
	// ErrInUse is matched when another process has the file open.
	ErrInUse = errors.New("in use by another process")
)

// DamageError tells what is wrong with a file and what to do about it.
type DamageError struct {
	File  string
	What  string
	Owner *uint32 // the only owner that is affected; nil if the whole file is
}

func (e *DamageError) Error() string {
	if e.Owner != nil {
		return fmt.Sprintf("%s: records of uid %d are damaged: %s; restore the file from a backup, or discard all records of this user", e.File, *e.Owner, e.What)
	}
	return fmt.Sprintf("%s is damaged or no vault: %s; restore it from a backup, or move it away to start with an empty one", e.File, e.What)
}

// Is makes the error match ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// KeyError tells what is wrong with a master key and what to do about it.
type KeyError struct {
	File   string // the key file, or the database that wants a key
	What   string
	Advice string
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s: %s; %s", e.File, e.What, e.Advice) }

// Is makes the error match ErrKey.
func (e *KeyError) Is(target error) bool { return target == ErrKey }

// SizeError is returned for a record that no vault can hold.
type SizeError struct {
	What  string
	Limit int
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s is longer than %d bytes", e.What, e.Limit)
}

// Quota reports that the change was refused by a limit on size.
func (e *SizeError) Quota() bool { return true }
