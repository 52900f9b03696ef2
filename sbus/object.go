package sbus

import (
	"context"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// Object declares what is offered at one path.
type Object struct {
	Path       dbus.ObjectPath
	Interfaces []Interface
}

// Interface declares one interface of an object.
type Interface struct {
	Name       string
	Methods    []Method
	Properties []Property
	Signals    []Signal
}

// Method declares a method. Call gets arguments of exactly the declared types
// and must return results of exactly the declared types; it may return an
// [*Error] to choose the name of the error reply. The calls of one connection
// are handled one after the other, so a slow Call delays the next call from the
// same connection, and nobody else; Call ends when ctx does. A nil Call is a
// method that exists in the contract but has no meaning for this object: it is
// answered with ErrorNotSupported.
type Method struct {
	Name    string
	In, Out []Arg
	Call    func(ctx context.Context, caller Caller, args []any) ([]any, error)
}

// Arg names an argument or a result and gives its D-Bus type.
type Arg struct{ Name, Type string }

// Property declares a property of a D-Bus type. Get returns a value of the Go
// type that has this signature. A nil Set makes the property read-only.
type Property struct {
	Name, Signature string
	Get             func() any
	Set             func(any) error
}

// Signal declares a signal.
type Signal struct {
	Name string
	Args []Arg
}

// Caller is who makes a call. UID and PID are those of the process at the other
// end of the connection, as the kernel told when it connected (SO_PEERCRED). In
// the monitor that is the caller itself. In a responder it is the monitor, which
// passed the call on and has admitted the caller that Name names.
type Caller struct {
	Peer uint64 // counts up over the life of the server; 0 in a responder
	Name string // unique name on the bus, "" before Hello
	UID  uint32
	PID  int32
}

func typesOf(args []Arg) string {
	var sig string
	for _, arg := range args {
		sig += arg.Type
	}
	return sig
}

// checkSignal makes sure that a signal is sent as it was declared.
func checkSignal(objects []Object, path dbus.ObjectPath, iface, member string, args []any) error {
	sig, err := signatureOf(args)
	if err != nil {
		return err
	}
	for _, object := range objects {
		for _, in := range object.Interfaces {
			for _, signal := range in.Signals {
				if object.Path != path || in.Name != iface || signal.Name != member {
					continue
				}
				if want := typesOf(signal.Args); want != sig.String() {
					return fmt.Errorf("signal %s.%s takes %q, not %q", iface, member, want, sig)
				}
				return nil
			}
		}
	}
	return fmt.Errorf("signal %s.%s is not declared at %s", iface, member, path)
}
