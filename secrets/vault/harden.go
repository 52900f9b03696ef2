package vault

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden keeps the memory of the process from files: it may not dump core nor
// be traced by other processes of its user, and where its limits allow it is
// not swapped out. locked tells whether the last succeeded.
//
// What Go cannot promise: copies of keys and values that the runtime made,
// in grown stacks, in strings and in buffers of the network, are not wiped but
// only left to be overwritten.
func Harden() (locked bool, err error) {
	err = errors.Join(
		hardened("forbid core dumps", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})),
		hardened("forbid tracing", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)),
	)
	// With a limit, later allocations beyond it would fail and end the
	// process, so all is locked or nothing. Pages are locked as they are
	// touched: the runtime reserves far more than it uses.
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur == unix.RLIM_INFINITY {
		locked = unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) == nil
	}
	return locked, err
}

func hardened(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
