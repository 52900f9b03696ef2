package sbus

import (
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/godbus/dbus/v5"
)

// A call whose work sends more signals than there is room for is answered.
func TestSignalsLeaveRoomForReplies(t *testing.T) {
	t.Parallel()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	near, err := net.DialUnix("unix", nil, listener.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	var serials atomic.Uint32
	objects := []Object{{Path: "/o", Interfaces: []Interface{{Name: "i.i", Signals: []Signal{{Name: "S"}}}}}}
	c := &Conn{link: newLink(near, &serials, 0, nil), objects: objects}
	for range 2 * maxQueued { // nothing is written
		if err = c.Emit(dbus.ObjectPath("/o"), "i.i", "S"); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrQueueFull) {
		t.Fatalf("the queue is never full: %v", err)
	}
	f, err := newCall(1, address{dest: "a.b", path: "/o", iface: "i.i", member: "M"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.link.send(f)
	if c.link.cause != nil {
		t.Errorf("a message that is asked for ends the connection: %v", c.link.cause)
	}
}
