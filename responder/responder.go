// Package responder is what every responder of sssd shares: its descriptor,
// listening socket and hand-over, peers and their identity, limits and idle
// handling, signals, logs, and its end of the private D-Bus.
package responder

import (
	"context"
	"io/fs"
	"strings"

	"gosssd/confdb"
	"gosssd/responder/log"
	"gosssd/responder/metric"
	"gosssd/sbus"
)

// Descriptor is all the monitor, the loader and sssctl know of a responder.
type Descriptor struct {
	Name         string           // "kcm": program sssd_kcm, log sssd_kcm.log, bus name sssd.kcm
	Sections     []confdb.Section // what it declares in sssd.conf, besides ServiceOptions; the first is its own section
	Socket       string           // where it listens by default, below the root
	SocketOption string           // the option of its section that moves the socket; "" if none does
	SocketMode   fs.FileMode
	// Signals are those of its own D-Bus interface, which it sends through
	// Service.Signal.
	Signals []sbus.Signal
	// Methods are those of the same interface, without Call: the handler, a
	// Callee, answers them. Everybody on the private bus may call them, which
	// is root, and the user sssd runs as.
	Methods []sbus.Method
	// Check says what is wrong with options whose values are right by
	// themselves; nil if there is nothing to look at.
	Check func(conf *confdb.Snapshot) []Remark
	// Needs names another responder that an option, key, makes it need although
	// its units do not start the other's socket; nil or "" if none is.
	Needs func(conf *confdb.Snapshot) (other, key string)
	// Advise says which options have no effect on this machine; nil if there is
	// nothing to look at.
	Advise func(conf *confdb.Snapshot) []Remark
	// Changed says what an administrator must know of the step from the
	// configuration in force to the next one; nil if there is nothing.
	Changed func(inForce, next *confdb.Snapshot) []Remark
	// Unasked reports whether the responder has work to do that no client asks
	// for. It then starts with the monitor, and again when it has ended, unless
	// it was idle; nil: it never has.
	Unasked func(conf *confdb.Snapshot) bool
	// Refusal answers clients with an error while the responder cannot start;
	// nil lets them wait. It is a pure codec: nothing of the server is linked
	// for it.
	Refusal Refusal
	// Probe is how to find out whether requests succeed.
	Probe Probe
}

// Command is the command line that the section sets in place of the
// responder's own program, split at blanks; nil if it sets none.
func (d Descriptor) Command(conf *confdb.Snapshot) []string {
	return strings.Fields(conf.Section(d.Section()).String("command"))
}

// Program is the name of the responder's executable and of its log file.
func (d Descriptor) Program() string { return "sssd_" + d.Name }

// Section is the name of the responder's own section in sssd.conf.
func (d Descriptor) Section() string { return d.Sections[0].Name }

// ClaimPath is the file whose lock says that the responder runs, below the
// root.
func (d Descriptor) ClaimPath() string { return "/run/" + d.Program() + ".pid" }

// SocketPath is where the responder listens.
func (d Descriptor) SocketPath(root Root, conf *confdb.Snapshot) string {
	if d.SocketOption != "" {
		if path := conf.Section(d.Section()).String(d.SocketOption); path != "" {
			return root.Path(path)
		}
	}
	return root.Path(d.Socket)
}

// Service is what the frame hands to the constructor of a responder.
type Service struct {
	Descriptor Descriptor
	Root       Root
	Conf       *confdb.Snapshot // the configuration the process started with
	Log        *log.Logger
	// Signal sends a D-Bus signal of Descriptor.Signals, with values of the
	// declared types; without a monitor it is dropped. It does not wait.
	Signal func(member string, values ...any)
}

// Constructor makes the working part of a responder.
type Constructor func(*Service) (Handler, error)

// Handler is the working part of a responder.
type Handler interface {
	// Serve answers one client until it is gone; the frame closes the
	// connection afterwards. While the responder drains, reading ends with
	// io.EOF after what the client had already sent; Serve then answers that
	// and returns.
	Serve(ctx context.Context, conn *Conn)
	// Reload takes over the live options of a new configuration.
	Reload(conf *confdb.Snapshot)
	// Metrics reports what it counts. It is called while clients are served.
	Metrics() []metric.Family
	// MayExit reports whether the process may end when idle; one that keeps
	// its only copy of something in memory may not.
	MayExit() bool
	// Close ends the handler's own goroutines and releases what it holds,
	// after the last Serve has returned.
	Close() error
}

// Callee is implemented by a Handler whose descriptor declares methods.
type Callee interface {
	// Call answers a method, with arguments and results of the declared
	// types. Other calls of the monitor wait meanwhile.
	Call(ctx context.Context, method string, args []any) ([]any, error)
}

// Volatile is implemented by a Handler that may keep the only copy of
// something in memory. A new sssd leaves such a process running and has it
// take over what it can of the new configuration.
type Volatile interface {
	// Volatile reports whether ending the process would lose something.
	Volatile() bool
}
