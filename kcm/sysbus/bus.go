package sysbus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/godbus/dbus/v5/prop"
	"github.com/hashicorp/go-hclog"

	"gosssd/responder/log"
)

// How a lost or missing bus is looked for: after pauses that double, and then
// only when there is something to tell.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

var errLost = errors.New("the connection is lost")

// waitingSignals bounds the signals that are not sent yet. Who makes a change
// never waits for the bus.
const waitingSignals = 1024

// Bus is the connection to the system bus.
type Bus struct {
	address string
	caches  Caches
	log     *log.Logger

	watchers *watchers
	signals  chan signal
	stop     context.CancelFunc
	done     chan struct{}
	told     string // what is wrong with the bus, as the log says already
}

// signal is one to one connection.
type signal struct {
	to, member string
	body       any
}

// New returns a Bus that looks for a daemon at the socket in path.
func New(path string, caches Caches, logger *log.Logger) *Bus {
	return &Bus{
		address: "unix:path=" + dbus.EscapeBusAddressValue(path), caches: caches, log: logger,
		watchers: newWatchers(), signals: make(chan signal, waitingSignals), done: make(chan struct{}),
	}
}

// Start serves the bus until Close is called.
func (b *Bus) Start() {
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	go func() {
		defer close(b.done)
		b.run(ctx)
	}()
}

// Close gives the name up, and returns when nothing is served any more.
func (b *Bus) Close() {
	if b == nil || b.stop == nil {
		return
	}
	b.stop()
	<-b.done
}

// Watched reports whether a user is told of changes.
func (b *Bus) Watched(uid uint32) bool { return b != nil && len(b.watchers.of(uid)) > 0 }

// Busy reports whether anybody is.
func (b *Bus) Busy() bool { return b != nil && b.watchers.count.Load() > 0 }

// Tell tells a user what became of a cache. It does not wait.
func (b *Bus) Tell(uid uint32, member string, c Cache) { b.queue(uid, member, c.entries()) }

// TellDefault tells a user which cache is the default now.
func (b *Bus) TellDefault(uid uint32, name string) { b.queue(uid, DefaultChanged, name) }

func (b *Bus) queue(uid uint32, member string, body any) {
	for _, name := range b.watchers.of(uid) {
		select {
		case b.signals <- signal{name, member, body}:
		default:
			b.log.Warn("the system bus is too slow: a signal is left out", "uid", uid)
		}
	}
}

// run connects, and connects again.
func (b *Bus) run(ctx context.Context) {
	pause := firstPause
	for {
		connected, err := b.serve(ctx)
		b.watchers.clear()
		if ctx.Err() != nil {
			return
		}
		if connected {
			pause = firstPause
		}
		if text := err.Error(); text != b.told {
			b.told = text
			level := hclog.Warn
			if errors.Is(err, fs.ErrNotExist) {
				level = hclog.Info // many machines have none
			}
			b.log.Log(level, "users are not shown their caches on the system bus", "reason", text)
		}
		if pause > lastPause {
			return // a machine without a bus; the next start looks again
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// serve has the name on the bus until the connection or ctx ends.
func (b *Bus) serve(ctx context.Context) (connected bool, err error) {
	conn, err := dbus.Connect(b.address, dbus.WithContext(ctx))
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	gone := make(chan *dbus.Signal, waitingSignals)
	conn.Signal(gone)
	methods := &calls{bus: b, conn: conn, slots: make(chan struct{}, maxCalls), users: map[uint32]int{}}
	if err := export(conn, methods); err != nil {
		return false, err
	}
	reply, err := conn.RequestName(Name, dbus.NameFlagDoNotQueue)
	if err == nil && reply != dbus.RequestNameReplyPrimaryOwner {
		err = fmt.Errorf("somebody else has the name %s", Name)
	}
	if err != nil {
		return false, err
	}
	b.told = ""
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case <-conn.Context().Done():
			return true, errLost
		case s := <-b.signals:
			send(conn, s)
		case s, ok := <-gone:
			if !ok {
				return true, errLost
			}
			if name, isText := firstOf(s.Body); s.Name == "org.freedesktop.DBus.NameOwnerChanged" && s.Sender == "org.freedesktop.DBus" && isText {
				methods.forget(name)
			}
		}
	}
}

func firstOf(body []any) (text string, ok bool) {
	if len(body) == 0 {
		return "", false
	}
	text, ok = body[0].(string)
	return text, ok
}

func export(conn *dbus.Conn, methods *calls) error {
	// Only these are methods; what else has an upper-case name is not one.
	table := map[string]any{"ListCaches": methods.ListCaches, "Subscribe": methods.Subscribe, "Unsubscribe": methods.Unsubscribe}
	if err := conn.ExportMethodTable(table, Path, Interface); err != nil {
		return err
	}
	version := prop.Map{Interface: {"Version": {Value: interfaceVersion, Emit: prop.EmitConst}}}
	if _, err := prop.Export(conn, Path, version); err != nil {
		return err
	}
	return conn.Export(introspect.Introspectable(interfaceXML), Path, "org.freedesktop.DBus.Introspectable")
}

// send sends a signal to one connection. If that has gone, the bus drops it.
func send(conn *dbus.Conn, s signal) {
	message := &dbus.Message{Type: dbus.TypeSignal, Body: []any{s.body}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(s.to), dbus.FieldPath: dbus.MakeVariant(Path),
		dbus.FieldInterface: dbus.MakeVariant(Interface), dbus.FieldMember: dbus.MakeVariant(s.member),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(s.body)),
	}}
	_ = conn.Send(message, nil) // the connection's end is seen by serve
}
