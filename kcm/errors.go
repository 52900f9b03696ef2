package kcm

import (
	"errors"
	"fmt"
	"syscall"

	"gosssd/kcm/protocol"
)

// refusal is a decision of an operation not to do what was asked: the code for
// the client and the reason for the log.
type refusal struct {
	code protocol.Code
	why  string
}

func (r *refusal) Error() string { return r.why }

// What operations decide. The code of errNoCache depends on the operation.
var (
	errNoCache      = errors.New("no such cache")
	errNotTheirs    = fmt.Errorf("%w: the name is not one of this user's", errNoCache)
	errNoPrincipal  = &refusal{protocol.NoFile, "the cache has no principal yet"}
	errNoCaches     = &refusal{protocol.NoFile, "the user has no caches"}
	errNoSuchID     = &refusal{protocol.End, "nothing has this UUID"}
	errNoneFound    = &refusal{protocol.End, "no credential matches"}
	errNoneRemoved  = &refusal{protocol.NotFound, "no credential matches"}
	errName         = &refusal{protocol.BadName, "not a name this user may give a cache"}
	errOtherUser    = &refusal{protocol.BadName, "a cache cannot be moved to another user's name"}
	errNameTaken    = &refusal{protocol.Exists, "the new owner has a cache of this name"}
	errMode         = &refusal{protocol.Perm, "the mode of the cache forbids it"}
	errNoTGT        = &refusal{protocol.NotFound, "the cache has no ticket-granting ticket that is valid"}
	errGuarded      = &refusal{protocol.Denied, "the key of the ticket-granting ticket is guarded"}
	errNotOwner     = &refusal{protocol.Perm, "only root may give a cache away"}
	errUserFull     = &refusal{protocol.Quota, "max_uid_ccaches is reached"}
	errFull         = &refusal{protocol.Quota, "max_ccaches is reached"}
	errCacheTooBig  = &refusal{protocol.Quota, "max_ccache_size is reached"}
	errTooManyCreds = &refusal{protocol.Quota, "max_ccache_credentials is reached"}
	errUserTooBig   = &refusal{protocol.Quota, "max_uid_ccache_size is reached"}
	errMemoryFull   = &refusal{protocol.Quota, "the caches of all users take as much memory as there is for them, and this user's not the least of it"}
	errReplyTooLong = &refusal{protocol.TooLong, "the reply would be longer than a frame"}
)

// What keeps an operation from being run.
var (
	errUnsupported = errors.New("operation is not served")
	errOneByOne    = errors.New("list is longer than a frame; the client asks for each credential instead")
	errAskOffset   = errors.New("the KDC's clock differs from this machine's; the client goes through the cache and asks for the offset")
	errOrphan      = errors.New("credential of a cache that is not there")
)

// unreadable is a failure to get at a user's records.
type unreadable struct{ err error }

func (u *unreadable) Error() string { return "the caches cannot be read: " + u.err.Error() }
func (u *unreadable) Unwrap() error { return u.err }

// unwritten is a failure to commit a change.
type unwritten struct{ err error }

func (u *unwritten) Error() string { return "the change cannot be written: " + u.err.Error() }
func (u *unwritten) Unwrap() error { return u.err }

// isQuota reports whether a store refused a change for its size or number.
func isQuota(err error) bool {
	var refused interface{ Quota() bool }
	return errors.As(err, &refused) && refused.Quota()
}

// tooBig reports whether a change was refused for the size of what it leaves.
func tooBig(err error) bool {
	return errors.Is(err, errCacheTooBig) || errors.Is(err, errTooManyCreds) || errors.Is(err, errUserTooBig) || errors.Is(err, errMemoryFull)
}

// wroteNothing reports whether a store says of a failed change that nothing of
// it was written.
func wroteNothing(err error) bool {
	return isQuota(err) || saysFull(err)
}

// isStale reports whether a store refused a change because somebody else has
// loaded the records since; nothing was written.
func isStale(err error) bool {
	var refused interface{ Stale() bool }
	return errors.As(err, &refused) && refused.Stale()
}

// isFull reports whether a store had no room on the disk for a change.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || saysFull(err)
}

// saysFull reports whether a store refused a change for want of room; nothing
// was written.
func saysFull(err error) bool {
	var full interface{ Full() bool }
	return errors.As(err, &full) && full.Full()
}

// severity says how an error is logged. A refusal leaves a line at the default
// level, an ordinary answer none: sssd-kcm(8), REFUSALS, says which is which.
type severity int

const (
	served   severity = iota // there is none
	ordinary                 // part of a client's way, like asking for a cache that is not there
	refused                  // a client does not get what it wants
	failed                   // something is wrong here
)

// replyFor is the one place where errors become codes. What an operation
// decided is an inner code; what kept it from being run is an outer code.
//
// MIT's client takes KRB5_FCC_INTERNAL, KRB5_CC_IO and KRB5_CC_NOSUPP for
// "try another way", which after a REPLACE wipes the cache. So the first two
// are never used, and the last only where another way is wanted.
func replyFor(op *operation, err error) (protocol.Reply, severity) {
	var r *refusal
	var u *unreadable
	var n *unobtained
	switch {
	case errors.Is(err, errNotTheirs):
		return protocol.Reply{Inner: op.missing}, refused
	case errors.Is(err, errNoCache):
		return protocol.Reply{Inner: op.missing}, ordinary
	case errors.As(err, &r):
		if r.code == protocol.NoFile || r.code == protocol.End || r.code == protocol.NotFound {
			return protocol.Reply{Inner: r.code}, ordinary
		}
		return protocol.Reply{Inner: r.code}, refused
	case errors.As(err, &n):
		return protocol.Reply{Inner: n.code()}, ordinary // it was logged, once for all who asked
	case errors.As(err, &u):
		return protocol.Reply{Outer: protocol.IOError}, failed
	case isQuota(err):
		return protocol.Reply{Inner: protocol.Quota}, refused
	case errors.Is(err, protocol.ErrMalformed):
		return protocol.Reply{Outer: protocol.BadFormat}, refused
	case errors.Is(err, errUnsupported), errors.Is(err, errOneByOne), errors.Is(err, errAskOffset):
		return protocol.Reply{Outer: protocol.NoSupport}, ordinary
	case isFull(err):
		return protocol.Reply{Inner: protocol.DiskFull}, failed
	default:
		return protocol.Reply{Outer: protocol.WriteFailed}, failed
	}
}
