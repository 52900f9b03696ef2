package client

import (
	"errors"
	"fmt"
)

var (
	// ErrQuota is matched by errors of calls that would exceed a number the
	// service's quotas set.
	ErrQuota = errors.New("the quota of the secrets service is used up")
	// ErrTooLarge is matched by errors of calls that would make one
	// credential cache larger than the service's quotas allow.
	ErrTooLarge = errors.New("larger than the secrets service takes")
	// ErrUnavailable is matched by errors of calls that the service did not
	// answer.
	ErrUnavailable = errors.New("the secrets service does not answer")
)

// StatusError is an answer of the service other than success.
type StatusError struct {
	Status int    // of HTTP
	Text   string // the service's own words
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the secrets service answered %d: %s", e.Status, e.Text)
}

// Is makes the error match ErrQuota and ErrTooLarge.
func (e *StatusError) Is(target error) bool {
	return target == ErrQuota && e.Status == 507 || target == ErrTooLarge && e.Status == 413
}

// Quota reports whether the call was refused by a limit on number or size, so
// that deleting something may help.
func (e *StatusError) Quota() bool { return e.Status == 507 || e.Status == 413 }
