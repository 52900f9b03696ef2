package main

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"gosssd/kcm/protocol"
)

// filling stores tickets for ever more services into one cache.
func filling(c *client) (func() error, error) {
	if err := c.all(initialize(c.cache)); err != nil {
		return nil, err
	}
	return func() error {
		c.number++
		return c.all(store(c.cache, ticket(c.number)))
	}, nil
}

// rereading reads a cache that is there.
func rereading(c *client) (func() error, error) { return c.reader(c.task.Credentials) }

// cachesEach is how many caches each user of a crowd has.
const cachesEach = 10

// makeCaches makes the caches of another user with every step. It runs as root
// and takes the user's uid for as long as it takes to connect.
func makeCaches(c *client) (func() error, error) {
	return func() error {
		c.number++
		uid := 30000 + c.number
		c.close()
		if err := connectAs(c.conn, uid); err != nil {
			return err
		}
		for i := range cachesEach {
			cache := fmt.Sprintf("%d:%d", uid, i)
			if err := c.all(initialize(cache), store(cache, tgt())); err != nil {
				return err
			}
		}
		return c.all(frame(protocol.OpSetDefaultCache, name(fmt.Sprintf("%d:%d", uid, 0))))
	}, nil
}

// connectAs connects as a user; the kernel notes who that was. It changes the
// identity of this thread only.
func connectAs(c *conn, uid int) error {
	runtime.LockOSThread() // or another would be given its identity back
	defer runtime.UnlockOSThread()
	set := func(uid int) error {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			return errno
		}
		return nil
	}
	if err := set(uid); err != nil {
		return err
	}
	err := c.Connect()
	if back := set(0); back != nil {
		return back
	}
	return err
}
