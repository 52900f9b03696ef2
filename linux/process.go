package linux

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Process is a process that is held by a descriptor: whatever is asked of it
// meets this process, and never another one that was given its number later.
type Process struct {
	PID  int
	file *os.File
}

// OpenProcess holds the process that has the number now. The error is
// [unix.ESRCH] if there is none. The caller closes it.
func OpenProcess(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	return &Process{PID: pid, file: os.NewFile(uintptr(fd), fmt.Sprintf("process %d", pid))}, nil
}

// PeerProcess holds the process that made a connection. Kernels before 6.5
// tell its number only (SO_PEERCRED), which may be another's if it ended since.
func PeerProcess(c *net.UnixConn) (*Process, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("process of a peer: %w", err)
	}
	var cred *unix.Ucred
	fd := -1
	var credErr error
	err = raw.Control(func(socket uintptr) {
		if cred, credErr = unix.GetsockoptUcred(int(socket), unix.SOL_SOCKET, unix.SO_PEERCRED); credErr != nil {
			return
		}
		if fd, credErr = unix.GetsockoptInt(int(socket), unix.SOL_SOCKET, unix.SO_PEERPIDFD); credErr != nil {
			fd = -1
		} else {
			credErr = unix.SetNonblock(fd, true) // as os.NewFile asks for
		}
	})
	switch {
	case err != nil:
	case errors.Is(credErr, unix.ENOPROTOOPT):
		return OpenProcess(int(cred.Pid))
	case credErr == nil && cred.Pid <= 0:
		err = unix.ESRCH // it is outside of our PID namespace
	default:
		err = credErr
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("process of a peer: %w", err)
	}
	return &Process{PID: int(cred.Pid), file: os.NewFile(uintptr(fd), fmt.Sprintf("process %d", cred.Pid))}, nil
}

// Wait returns nil when the process has ended, or the context's error. It
// costs nothing meanwhile.
func (p *Process) Wait(ctx context.Context) error {
	return WaitReadable(ctx, p.file)
}

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	ended := true
	_ = control(p.file, func(fd int) { ended = readable(fd) })
	return ended
}

// Signal sends a signal; one to a process that has ended is none.
func (p *Process) Signal(signal unix.Signal) error {
	var sent error
	err := control(p.file, func(fd int) { sent = unix.PidfdSendSignal(fd, signal, nil, 0) })
	if sent == unix.ESRCH {
		sent = nil
	}
	if err = errors.Join(err, sent); err != nil {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// Reap takes the status of a child that has ended, and reports whether the
// process was a child of ours whose status nobody had taken.
func (p *Process) Reap() (unix.WaitStatus, bool) {
	var status unix.WaitStatus
	for {
		pid, err := unix.Wait4(p.PID, &status, unix.WNOHANG, nil)
		if err != unix.EINTR {
			return status, pid == p.PID
		}
	}
}

// IsChild reports whether the process is a child of ours that has not been
// reaped.
func (p *Process) IsChild() bool {
	is := false
	_ = control(p.file, func(fd int) {
		is = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == nil
	})
	return is
}

// Close lets the process go.
func (p *Process) Close() { _ = p.file.Close() } // nothing is written to it

// WaitReadable returns nil when there is something to read from file, to accept
// from it or, for a process, to reap; or the context's error. One goroutine at
// a time may wait for a file, which must be in non-blocking mode.
func WaitReadable(ctx context.Context, file *os.File) error {
	if err := file.SetReadDeadline(noDeadline); err != nil {
		return err
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = file.SetReadDeadline(longAgo)
	})
	defer func() {
		if !stop() { // the next wait must not meet this deadline
			<-ended
		}
	}()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool { return readable(int(fd)) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Readable reports whether WaitReadable would return at once.
func Readable(file *os.File) bool {
	is := false
	_ = control(file, func(fd int) { is = readable(fd) })
	return is
}

func readable(fd int) bool {
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n > 0
}

func control(file *os.File, do func(fd int)) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { do(int(fd)) })
}
