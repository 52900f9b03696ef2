// Package dial lets one process be the clients of many users.
package dial

import (
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// As connects to a Unix socket as another user, which only root may. The kernel
// takes the peer's uid from the thread that connects.
func As(uid uint32, socket string) (conn net.Conn, err error) {
	if failed := Do(uid, func() error {
		conn, err = net.Dial("unix", socket)
		return err
	}); failed != nil {
		return nil, failed
	}
	return conn, nil
}

// Do runs f, which must not start goroutines, on a thread of another user.
func Do(uid uint32, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const keep = ^uintptr(0)
	for _, call := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, errno := syscall.RawSyscall(call, keep, uintptr(uid), keep); errno != 0 {
			return errno
		}
	}
	err := f()
	for _, call := range []uintptr{unix.SYS_SETRESUID, unix.SYS_SETRESGID} {
		if _, _, errno := syscall.RawSyscall(call, keep, 0, keep); errno != 0 {
			panic(errno) // this thread is not what the others are
		}
	}
	return err
}
