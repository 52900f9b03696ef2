package sbus

import (
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// Names of error replies: the standard ones libdbus defines, and SSSD's.
const (
	ErrorFailed            = "org.freedesktop.DBus.Error.Failed"
	ErrorNoReply           = "org.freedesktop.DBus.Error.NoReply"
	ErrorAccessDenied      = "org.freedesktop.DBus.Error.AccessDenied"
	ErrorInvalidArgs       = "org.freedesktop.DBus.Error.InvalidArgs"
	ErrorLimitsExceeded    = "org.freedesktop.DBus.Error.LimitsExceeded"
	ErrorMatchRuleInvalid  = "org.freedesktop.DBus.Error.MatchRuleInvalid"
	ErrorMatchRuleNotFound = "org.freedesktop.DBus.Error.MatchRuleNotFound"
	ErrorNameHasNoOwner    = "org.freedesktop.DBus.Error.NameHasNoOwner"
	ErrorNotSupported      = "org.freedesktop.DBus.Error.NotSupported"
	ErrorPropertyReadOnly  = "org.freedesktop.DBus.Error.PropertyReadOnly"
	ErrorServiceUnknown    = "org.freedesktop.DBus.Error.ServiceUnknown"
	ErrorUnknownInterface  = "org.freedesktop.DBus.Error.UnknownInterface"
	ErrorUnknownMethod     = "org.freedesktop.DBus.Error.UnknownMethod"
	ErrorUnknownObject     = "org.freedesktop.DBus.Error.UnknownObject"
	ErrorUnknownProperty   = "org.freedesktop.DBus.Error.UnknownProperty"
	ErrorNotFound          = "org.freedesktop.sssd.Error.NotFound"
)

// Reasons for which a connection ends or a message is not taken.
var (
	// ErrClosed is returned for calls over a connection that has ended.
	ErrClosed = errors.New("connection is closed")
	// ErrQueueFull is returned when the other end does not read what it is sent.
	ErrQueueFull = errors.New("queue to the peer is full")
	// ErrNoPeer is returned for calls to a peer or name that is not there.
	ErrNoPeer = errors.New("no such peer")
)

// Error is an error reply. A handler that returns one chooses the name the
// caller sees; any other error is sent as ErrorFailed. A call that was answered
// by an error reply returns one.
type Error struct {
	Name    string
	Message string
}

func (e *Error) Error() string { return e.Name + ": " + e.Message }

// Errorf makes an error reply of the given name.
func Errorf(name, format string, args ...any) *Error {
	return &Error{Name: name, Message: fmt.Sprintf(format, args...)}
}

// replyError is err as an error reply.
func replyError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Name: ErrorFailed, Message: err.Error()}
}

// errorOf reads an error reply. Its first argument is by convention a text.
func errorOf(f *frame) *Error {
	e := &Error{Name: f.text(dbus.FieldErrorName)}
	if args := f.plainArgs(); len(args) > 0 {
		e.Message, _ = args[0].(string)
	}
	return e
}
