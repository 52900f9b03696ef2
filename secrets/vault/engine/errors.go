package engine

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

var (
	// ErrDamaged is matched by errors that tell of a file that is not as it
	// was written.
	ErrDamaged = errors.New("damaged")
	// ErrInUse is matched when another process has the file open.
	ErrInUse = errors.New("in use by another process")
	// ErrGone is matched when nothing is at the path of an open file.
	ErrGone = errors.New("gone")
	// ErrFull is matched when the disk has no room, or takes no writes.
	ErrFull = errors.New("the disk takes no more")
)

// DamageError tells what is wrong with a file and what to do about it.
type DamageError struct {
	File   string
	What   string
	Advice string // "" for the usual one
}

func (e *DamageError) Error() string {
	if e.Advice != "" {
		return fmt.Sprintf("%s: %s; %s", e.File, e.What, e.Advice)
	}
	return fmt.Sprintf("%s is damaged or no vault: %s; restore it from a backup, or move it away to start with an empty one", e.File, e.What)
}

// Is makes the error match ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

// FullError is returned for a change that the disk has no room for. Nothing of
// it was made, and the engine goes on.
type FullError struct {
	File string
	Err  error // ENOSPC, EDQUOT or EROFS
}

func (e *FullError) Error() string { return fmt.Sprintf("write %s: %v", e.File, e.Err) }
func (e *FullError) Unwrap() error { return e.Err }

// Is makes the error match ErrFull.
func (e *FullError) Is(target error) bool { return target == ErrFull }

// Full reports that nothing was written, for want of room.
func (e *FullError) Full() bool { return true }

// isFull reports whether an error is the disk's way to say that it takes no
// more.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// DoubtError is returned when it is unknown what the disk or the engine holds.
// The engine must be closed, and opened again, which checks it.
type DoubtError struct{ Err error }

func (e *DoubtError) Error() string { return e.Err.Error() }
func (e *DoubtError) Unwrap() error { return e.Err }
