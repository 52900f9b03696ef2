package vault

import (
	"errors"
	"fmt"

	"gosssd/secrets/vault/engine"
)

var (
	// ErrDamaged is matched by errors that tell of a file, or of one owner's
	// records in it, that is not as the vault wrote it.
	ErrDamaged = engine.ErrDamaged
	// ErrKey is matched by errors that tell of a master key that is missing,
	// cannot be trusted, or is not the one a file was sealed under.
	ErrKey = errors.New("master key")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the vault is closed")
	// ErrInUse is matched when another process has the file open.
	ErrInUse = engine.ErrInUse
	// ErrFull is matched by errors of changes that the disk has no room for.
	// Nothing of such a change was made, and everything else goes on. The
	// errors have a method Full() bool that returns true.
	ErrFull = engine.ErrFull
	// ErrGone is matched when a database is not there any more that was there
	// when the vault was opened.
	ErrGone = engine.ErrGone
	// ErrChanged is returned by a walk over records that were changed before
	// it came to its end.
	ErrChanged = errors.New("the records were changed while they were read")
)

// DamageError tells what is wrong with a file and what to do about it.
type DamageError = engine.DamageError

// OwnerError tells of damaged records of one owner; the others' are served.
type OwnerError struct {
	File string
	UID  uint32
	What string
}

func (e *OwnerError) Error() string {
	return fmt.Sprintf("%s: records of uid %d are damaged: %s; restore the file from a backup, or see 'secrets check' of the administrator's tool", e.File, e.UID, e.What)
}

// Is makes the error match ErrDamaged.
func (e *OwnerError) Is(target error) bool { return target == ErrDamaged }

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
