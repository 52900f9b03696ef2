package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"gosssd/layout"
	"gosssd/responder"
)

// keptVariable tells a monitor that was executed again what it has from before:
// a kept, as JSON.
const keptVariable = "_SSSD_KEPT"

// kept is what outlives the execution of sssd by itself.
type kept struct {
	// Again says that sssd was executed by itself.
	Again bool
	// Descriptors are those of the claim, of the bus and of each service's
	// sockets, by the path they stand for.
	Descriptors map[string]int
	// Children are the processes of services that have not registered yet, by
	// the service's name. Those that have are found by their claim.
	Children map[string]int
}

// keptFromBefore tells once what there is; children are to know nothing of it.
func keptFromBefore() *kept {
	text := os.Getenv(keptVariable)
	_ = os.Unsetenv(keptVariable)
	k := &kept{}
	if json.Unmarshal([]byte(text), k) != nil {
		return &kept{}
	}
	for _, fd := range k.Descriptors {
		unix.CloseOnExec(fd)
	}
	return k
}

// take returns the descriptor for path, which then is the caller's.
func (k *kept) take(path string) (int, bool) {
	fd, found := k.Descriptors[path]
	delete(k.Descriptors, path)
	return fd, found
}

// has reports whether there is a descriptor for path.
func (k *kept) has(path string) bool {
	_, found := k.Descriptors[path]
	return found
}

// add keeps a descriptor for path.
func (k *kept) add(path string, fd int) {
	if k.Descriptors == nil {
		k.Descriptors = map[string]int{}
	}
	k.Descriptors[path] = fd
}

// closeRest gives up the sockets that the new configuration has elsewhere.
func (k *kept) closeRest() {
	for path, fd := range k.Descriptors {
		_ = os.Remove(path)
		_ = os.Remove(spare(path))
		_ = unix.Close(fd)
	}
	k.Descriptors = nil
}

// requestRestart puts the configuration of the files into the database, which
// shows whether they are right and the database can be written, and has the
// monitor executed again. It returns only if that fails.
func (m *monitor) requestRestart(ctx context.Context) error {
	config, err := m.flags.configuration()
	if err == nil {
		_, err = config.Commit(m.root.Path(layout.Current().Database))
	}
	if err == nil {
		_, err = os.Stat(m.executable())
	}
	if err != nil {
		return fmt.Errorf("%s goes on as it is: %w", layout.Current().Monitor, err)
	}
	result := make(chan error, 1)
	select {
	case m.restarting <- result:
	default:
		return errors.New(layout.Current().Monitor + " is about to restart already")
	}
	select {
	case err := <-result: // only of a failure: otherwise this program is no more
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// executable is the program that a restart executes: the one that is installed
// where this one was, also if that was replaced.
func (m *monitor) executable() string {
	if m.program != "" {
		return m.program
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// restart executes sssd again in this process, which keeps its number, its
// claim, its listening sockets and its children, so that no client is refused.
// The new start replaces the responders as one after a crash would. It returns
// only if that is not possible, and then nothing has changed.
func (m *monitor) restart() error {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	// No child is started from here on: it would get what is to outlive the
	// execution, and nobody would know of it.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	list, undo, err := m.keep()
	defer undo()
	if err != nil {
		return err
	}
	responder.Notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
	m.log.Info("restarting")
	m.log.Flush()
	signal.Ignore(syscall.SIGHUP) // until the new start handles it, it would kill
	err = syscall.Exec(m.executable(), os.Args, append(os.Environ(), keptVariable+"="+list))
	m.notifySignals()
	responder.Notify("READY=1")
	return fmt.Errorf("cannot execute %s: %w", m.executable(), err)
}

// keep has the descriptors of the claim, the bus and the sockets outlive an
// exec, and returns what keptFromBefore reads. undo takes it back.
func (m *monitor) keep() (list string, undo func(), err error) {
	k := kept{Again: true, Descriptors: map[string]int{}, Children: map[string]int{}}
	claim := int(m.instance.FD())
	var lent []int
	undo = func() {
		unix.CloseOnExec(claim)
		for _, fd := range lent {
			_ = unix.Close(fd)
		}
	}
	k.Descriptors[m.root.Path(layout.Current().PIDFile)] = claim
	sockets := []*socket{m.busSocket}
	for _, s := range m.services {
		held, child := s.handover()
		sockets = append(sockets, held...)
		if child != 0 {
			k.Children[s.descriptor.Name] = child
		}
	}
	for _, held := range sockets {
		if held == nil {
			continue
		}
		fd, err := held.lendFD()
		if err != nil {
			return "", undo, err
		}
		lent = append(lent, fd)
		k.Descriptors[held.path] = fd
	}
	var problems []error
	for _, fd := range k.Descriptors {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		problems = append(problems, err)
	}
	text, err := json.Marshal(k)
	return string(text), undo, errors.Join(append(problems, err)...)
}
