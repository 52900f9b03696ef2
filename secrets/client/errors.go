package client

import (
	"errors"
	"fmt"
	"strings"

	"gosssd/secrets/records"
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

// errChanged is matched when records changed while they were being loaded.
var errChanged = errors.New("changed while they were being read")

// What the service answers with, besides records.DiskFull; as HTTP numbers it.
const (
	statusOK       = 200
	statusChanged  = 409
	statusStale    = 412
	statusTooLarge = 413
	statusQuota    = 507
)

// StatusError is an answer of the service other than success.
type StatusError struct {
	Status int    // of HTTP, or records.DiskFull
	Text   string // the service's own words
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the secrets service answered %d: %s", e.Status, e.Text)
}

// Is makes the error match ErrQuota and ErrTooLarge.
func (e *StatusError) Is(target error) bool {
	return target == ErrQuota && e.Status == statusQuota || target == ErrTooLarge && e.Status == statusTooLarge ||
		target == errChanged && e.Status == statusChanged
}

// Quota reports whether the call was refused by a limit on number or size, so
// that deleting something may help. Nothing was changed.
func (e *StatusError) Quota() bool { return e.Status == statusQuota || e.Status == statusTooLarge }

// Stale reports whether the change was refused because somebody else has
// loaded the records since this client did. Nothing was changed.
func (e *StatusError) Stale() bool { return e.Status == statusStale }

// Full reports whether there was no space on the service's disk. Nothing was
// changed.
func (e *StatusError) Full() bool { return e.Status == records.DiskFull }

// shorten returns the first line of a text, fit for a log.
func shorten(text string) string {
	const longest = 300
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.ToValidUTF8(line[:min(len(line), longest)], "?")
}
