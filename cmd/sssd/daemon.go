package main

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"gosssd/responder"
)

// daemonVariable marks the child that daemonize starts, and daemonPipe is its
// end of the pipe on which the parent waits.
const (
	daemonVariable = "_SSSD_DAEMON"
	daemonPipe     = 3
)

// isDaemonChild tells once whether this is that child; its own children are
// to know nothing of it.
func isDaemonChild() bool {
	_, is := os.LookupEnv(daemonVariable)
	_ = os.Unsetenv(daemonVariable)
	if is {
		unix.CloseOnExec(daemonPipe)
	}
	return is
}

// daemonize starts sssd again in a session of its own and waits until that is
// ready, or returns its exit code.
func daemonize() int {
	self, err := os.Executable()
	if err != nil {
		return fail(exitServer, err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return fail(exitServer, err)
	}
	defer func() { _ = reader.Close() }()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), daemonVariable+"=1")
	cmd.ExtraFiles = []*os.File{writer}
	cmd.Stderr = os.Stderr // until ready: errors of the start are for the caller
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = writer.Close()
	if err != nil {
		return fail(exitServer, err)
	}
	var b [1]byte
	if n, _ := reader.Read(b[:]); n == 1 {
		return exitOK
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// detach tells the waiting parent that sssd serves, and leaves its stderr.
func detach() {
	parent := os.NewFile(daemonPipe, "parent")
	_, _ = parent.Write([]byte{'1'})
	_ = parent.Close()
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		_ = unix.Dup3(int(null.Fd()), int(os.Stderr.Fd()), 0)
		_ = null.Close()
	}
}

// feedWatchdog keeps systemd's watchdog content, where it has one, until the
// context ends.
func feedWatchdog(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			responder.Notify("WATCHDOG=1")
		}
	}
}
