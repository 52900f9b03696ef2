package sbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/hashicorp/go-hclog"

	"gosssd/linux"
)

// Conn is a responder's or a tool's end of a connection to the private bus.
type Conn struct {
	link    *link
	objects []Object
	tree    *tree
	server  linux.Peer
	serials atomic.Uint32
	name    string
	done    chan struct{} // closed when the connection has ended
	err     error         // why; set before done is closed
}

// Dial connects to the bus at path and says Hello. The objects answer from the
// first moment anyone can call them. ctx bounds connecting only; the connection
// lives until Close, or until the bus ends it. A nil log means none. The server
// gets the sockets with it, and may listen on them as well.
func Dial(ctx context.Context, path string, objects []Object, log hclog.Logger, sockets ...*net.UnixListener) (*Conn, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	nc, err := linux.Dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("private bus: %w", err)
	}
	c := &Conn{objects: objects, tree: newTree(objects, log), done: make(chan struct{})}
	c.link = newLink(nc, &c.serials, DefaultWriteTimeout, log)
	if err := c.handshake(ctx, sockets); err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("private bus at %s: %w", path, err)
	}
	go c.run()
	reply, err := c.Call(ctx, BusName, BusPath, BusInterface, "Hello")
	if err == nil {
		err = dbus.Store(reply, &c.name)
	}
	if err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("private bus at %s: %w", path, err)
	}
	return c, nil
}

// handshake authenticates to the server, once it is known that it is run by
// root or by our own user.
func (c *Conn) handshake(ctx context.Context, sockets []*net.UnixListener) (err error) {
	conn := c.link.conn
	if c.server, err = linux.PeerOf(conn); err != nil {
		return err
	}
	own := uint32(os.Geteuid())
	if c.server.UID != 0 && c.server.UID != own {
		return fmt.Errorf("it is run by user %d, who is neither root nor %d", c.server.UID, own)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	if err = lend(conn, sockets); err == nil {
		err = offerAuth(c.link.in, conn, own)
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

func (c *Conn) run() {
	defer close(c.done)
	c.err = c.link.run(context.Background(), func(f *frame) error {
		c.handle(f)
		return nil
	})
	if errors.Is(c.err, io.EOF) {
		c.err = ErrClosed
	}
}

func (c *Conn) handle(f *frame) {
	switch {
	case f.isReply():
		c.link.answered(f)
	case f.kind == dbus.TypeSignal: // of names that were acquired or lost; no others are asked for
		c.link.log.Trace("signal from the bus", "member", f.text(dbus.FieldMember))
	case f.text(dbus.FieldInterface) == PeerInterface:
		c.callObject(context.Background(), f)
	case !c.link.queueHandler(func(ctx context.Context) { c.callObject(ctx, f) }):
		c.reply(f, reply{err: Errorf(ErrorLimitsExceeded, "%d calls wait already", maxJobs)})
	}
}

// callObject calls one of our objects and answers.
func (c *Conn) callObject(ctx context.Context, f *frame) {
	caller := Caller{Name: f.text(dbus.FieldSender), UID: c.server.UID, PID: c.server.PID}
	results, err := c.tree.call(ctx, caller, f)
	c.reply(f, reply{results: results, err: err})
}

func (c *Conn) reply(f *frame, r reply) {
	if f.wantsReply() {
		r.to, r.dest = f.serial, f.text(dbus.FieldSender)
		c.link.send(r.frame(nextSerial(&c.serials)))
	}
}

// Name is the unique name the bus has given the connection.
func (c *Conn) Name() string { return c.name }

// Call calls a method of the owner of the bus name dest and returns its results;
// ctx bounds the time. An error reply is returned as an *Error; ErrClosed if the
// connection ends first. Structs come as []any: dbus.Store takes results apart.
func (c *Conn) Call(ctx context.Context, dest string, path dbus.ObjectPath, iface, method string, args ...any) ([]any, error) {
	f, err := newCall(nextSerial(&c.serials), address{dest: dest, path: path, iface: iface, member: method}, args)
	if err != nil {
		return nil, err
	}
	results, err := c.link.call(ctx, f, c.link.offer)
	if err != nil {
		return nil, fmt.Errorf("call %s of %s: %w", method, dest, err)
	}
	return results, nil
}

// Emit sends a signal, which one of the connection's objects must declare, to
// those who have asked for it. It never waits: a signal for which there is no
// room is lost, and the error is ErrQueueFull.
func (c *Conn) Emit(path dbus.ObjectPath, iface, member string, args ...any) error {
	if err := checkSignal(c.objects, path, iface, member, args); err != nil {
		return err
	}
	f, err := newSignal(nextSerial(&c.serials), address{path: path, iface: iface, member: member}, args)
	if err != nil {
		return err
	}
	return c.link.offerUnasked(f) // else the reply to a call would find no room, which ends the connection
}

// RequestName makes the connection the owner of a well-known name, or fails; it
// does not wait for the name.
func (c *Conn) RequestName(ctx context.Context, name string) error {
	results, err := c.Call(ctx, BusName, BusPath, BusInterface, "RequestName", name, uint32(doNotQueue))
	var result uint32
	if err == nil {
		err = dbus.Store(results, &result)
	}
	if err != nil {
		return err
	}
	if result != primaryOwner && result != alreadyOwner {
		return fmt.Errorf("name %s has another owner", name)
	}
	return nil
}

// Done is closed when the connection has ended, whoever ended it.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err is why the connection has ended, nil as long as it has not.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Close ends the connection in order: calls that wait fail with ErrClosed,
// answers that are ready are still sent. It returns when no handler runs any
// more and must not be called by one.
func (c *Conn) Close() error {
	c.link.end()
	<-c.done
	return nil
}
