package sysbus

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/linux"
	"gosssd/responder/log"
)

// Bounds of calls that are served at a time: those beyond are refused at once, so
// that nobody's calls pile up here.
const (
	maxCalls     = 64
	maxUserCalls = 4
	callTimeout  = 30 * time.Second
)

// calls are the methods of the interface, as godbus finds them.
type calls struct {
	bus   *Bus
	conn  *dbus.Conn
	slots chan struct{}

	mu    sync.Mutex
	users map[uint32]int
}

func errorOf(name, text string) *dbus.Error {
	return dbus.NewError("org.freedesktop.DBus.Error."+name, []any{text})
}

// serve runs f with the caller's uid, where neither all nor the caller have too
// many calls under way.
func (c *calls) serve(sender dbus.Sender, f func(ctx context.Context, uid uint32) *dbus.Error) *dbus.Error {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return errorOf("LimitsExceeded", "too many calls at a time")
	}
	ctx, cancel := context.WithTimeout(c.conn.Context(), callTimeout)
	defer cancel()
	uid, err := c.uidOf(ctx, string(sender))
	if err != nil {
		return errorOf("AccessDenied", "the bus does not know the caller's user")
	}
	if !c.begin(uid) {
		c.bus.log.Warn("request refused", c.line(ctx, sender, uid, "LimitsExceeded", "the user has too many calls under way")...)
		return errorOf("LimitsExceeded", fmt.Sprintf("a user may have %d calls under way", maxUserCalls))
	}
	defer c.end(uid)
	return f(ctx, uid)
}

func (c *calls) begin(uid uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users[uid] >= maxUserCalls {
		return false
	}
	c.users[uid]++
	return true
}

func (c *calls) end(uid uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users[uid]--; c.users[uid] == 0 {
		delete(c.users, uid)
	}
}

// uidOf asks the bus daemon, which has it from the kernel.
func (c *calls) uidOf(ctx context.Context, name string) (uid uint32, err error) {
	err = c.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixUser", 0, name).Store(&uid)
	return uid, err
}

// line returns the pairs of a line about a call that is refused or fails.
func (c *calls) line(ctx context.Context, sender dbus.Sender, uid uint32, code string, reason any) []any {
	var pid uint32
	_ = c.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, string(sender)).Store(&pid) // 0 is not known
	peer := linux.Peer{UID: uid, PID: int32(pid)}                                                                                 //nolint:gosec // a pid
	return []any{"op", "system bus", "uid", uid, "pid", pid, "program", peer.Program(), "code", log.Cause(code), "reason", reason}
}

// ListCaches returns the caller's own caches in their order.
func (c *calls) ListCaches(sender dbus.Sender) (list []map[string]dbus.Variant, failed *dbus.Error) {
	list = []map[string]dbus.Variant{}
	failed = c.serve(sender, func(ctx context.Context, uid uint32) *dbus.Error {
		caches, err := c.bus.caches(ctx, uid)
		if err != nil {
			c.bus.log.Error("request failed", c.line(ctx, sender, uid, "Failed", err)...)
			return errorOf("Failed", "the caches cannot be read; the log of sssd_kcm says why")
		}
		for _, cache := range caches {
			list = append(list, cache.entries())
		}
		return nil
	})
	return list, failed
}

// Subscribe has the caller's connection told of changes until it ends.
func (c *calls) Subscribe(sender dbus.Sender) *dbus.Error {
	name := string(sender)
	return c.serve(sender, func(ctx context.Context, uid uint32) *dbus.Error {
		isNew, ok := c.bus.watchers.add(name, uid)
		if !ok {
			c.bus.log.Warn("request refused", c.line(ctx, sender, uid, "LimitsExceeded", "too many connections are subscribed")...)
			return errorOf("LimitsExceeded", fmt.Sprintf("a user may have %d subscribed connections", maxUserWatchers))
		}
		if !isNew {
			return nil
		}
		err := c.conn.AddMatchSignalContext(ctx, endOf(name)...)
		if err == nil { // it may have gone before that
			_, err = c.uidOf(ctx, name)
		}
		if err != nil {
			c.forget(name)
			return errorOf("Failed", "the end of the connection cannot be watched")
		}
		return nil
	})
}

// Unsubscribe ends that.
func (c *calls) Unsubscribe(sender dbus.Sender) *dbus.Error {
	c.forget(string(sender))
	return nil
}

func (c *calls) forget(name string) {
	if c.bus.watchers.remove(name) {
		_ = c.conn.RemoveMatchSignal(endOf(name)...) // it fails with the connection only
	}
}

// endOf matches the signal that a connection has ended.
func endOf(name string) []dbus.MatchOption {
	return []dbus.MatchOption{
		dbus.WithMatchSender("org.freedesktop.DBus"), dbus.WithMatchInterface("org.freedesktop.DBus"),
		dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, name), dbus.WithMatchArg(2, ""),
	}
}
