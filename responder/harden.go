package responder

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"gosssd/responder/log"
)

// protectMemory keeps the memory of the process, where users' keys are, from
// files and from other processes: it may not dump core nor be traced by
// processes of its user, and where its limits allow it is not swapped out.
//
// What Go cannot promise: copies of keys and values that the runtime made,
// in grown stacks, in strings and in buffers of the network, are not wiped but
// only left to be overwritten.
func protectMemory(logger *log.Logger) {
	err := errors.Join(
		because("forbid core dumps", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})),
		because("forbid tracing", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)),
	)
	if err != nil {
		logger.Warn("memory is not protected", "error", err)
	}
	// With a limit, later allocations beyond it would fail and end the
	// process, so all is locked or nothing. Pages are locked as they are
	// touched: the runtime reserves far more than it uses.
	locked := false
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit) == nil && limit.Cur == unix.RLIM_INFINITY {
		locked = unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE|unix.MCL_ONFAULT) == nil
	}
	logger.Info("memory is kept from core dumps", "locked", locked)
}

// memoryLimit is how much memory Go's runtime may take before it collects
// garbage more often than it would by itself. It is beyond what users can make
// a responder hold; what they can make it leave behind stays below it.
const memoryLimit = 1 << 30

// limitMemory puts memoryLimit into force, unless the environment names
// another. The units do; a child of the monitor has no unit.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

func because(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
