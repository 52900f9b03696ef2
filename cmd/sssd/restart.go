package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"gosssd/layout"
	"gosssd/responder"
)

// keptVariable tells a monitor that was executed again which descriptors it
// has from before: "fd:path" of the claim and then of each listening socket,
// separated by "|".
const keptVariable = "_SSSD_KEPT"

// kept are the descriptors from before, by the path they stand for.
type kept map[string]int

// keptDescriptors tells once what there is; children are to know nothing of it.
func keptDescriptors() kept {
	list, _ := os.LookupEnv(keptVariable)
	os.Unsetenv(keptVariable)
	k := kept{}
	for item := range strings.SplitSeq(list, "|") {
		number, path, found := strings.Cut(item, ":")
		fd, err := strconv.Atoi(number)
		if !found || err != nil {
			continue
		}
		unix.CloseOnExec(fd)
		k[path] = fd
	}
	return k
}

// take returns the descriptor for path, which then is the caller's.
func (k kept) take(path string) (int, bool) {
	fd, found := k[path]
	delete(k, path)
	return fd, found
}

// closeRest gives up the sockets that the new configuration has elsewhere.
func (k kept) closeRest() {
	for path, fd := range k {
		_ = os.Remove(path)
		_ = unix.Close(fd)
	}
}

// requestRestart checks the configuration and has the monitor executed again.
// The check is for whoever asks; the new start reads the files by itself.
func (m *monitor) requestRestart(context.Context) error {
	if _, err := m.flags.configuration(); err != nil {
		return fmt.Errorf("sssd goes on as it is: %w", err)
	}
	select {
	case m.restarting <- struct{}{}:
	default: // it is asked for already
	}
	return nil
}

// restart executes sssd again in this process, which keeps its number, its
// claim and its listening sockets, so that no client is refused. The new start
// replaces the responders as one after a crash would. It returns only if that
// is not possible.
func (m *monitor) restart() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	list, err := m.keep()
	if err != nil {
		return err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	responder.Notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
	m.log.Info("restarting")
	m.log.Flush()
	signal.Ignore(syscall.SIGHUP) // until the new start handles it, it would kill
	err = syscall.Exec(self, os.Args, append(os.Environ(), keptVariable+"="+list))
	return errors.Join(errors.New("cannot execute "+self), err)
}

// keep has the descriptors of the claim and the sockets outlive an exec, and
// returns the list of them that keptDescriptors reads.
func (m *monitor) keep() (string, error) {
	var items []string
	add := func(fd int, path string) error {
		items = append(items, fmt.Sprintf("%d:%s", fd, path))
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		return err
	}
	if err := add(int(m.instance.FD()), m.root.Path(layout.Current().PIDFile)); err != nil {
		return "", err
	}
	for _, s := range m.services {
		if s.socket == nil {
			continue
		}
		fd, err := s.socket.lendFD()
		if err != nil {
			return "", err
		}
		if err := add(fd, s.path); err != nil {
			return "", err
		}
	}
	return strings.Join(items, "|"), nil
}
