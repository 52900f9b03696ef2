package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gosssd/confdb"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/sbus"
)

// service is one responder under supervision: the socket that the monitor
// holds for it, and the process that serves it, if one runs.
type service struct {
	descriptor responder.Descriptor
	options    confdb.View
	socket     *socket // nil where systemd holds it
	path       string  // of the socket
	claim      string  // the file whose lock says that the responder runs
	argv       []string
	bus        *sbus.Server
	log        *log.Logger
	patience   patience
	adopted    int // the process of an earlier monitor that goes on; 0 if there is none

	mu         sync.Mutex
	state      string
	pid        int
	since      time.Time
	peer       uint64        // its connection to the bus; 0 if it has not registered
	registered chan struct{} // closed when the current process registers, and nil from then on
	failures   int           // exits in a row that count for the back-off
	restarts   uint32
	lastExit   string
}

// register binds a connection of the bus to the service, if it comes from the
// process that the monitor started or that holds the service's claim.
func (s *service) register(caller sbus.Caller) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isProcess(int(caller.PID)) {
		return fmt.Errorf("process %d is not the %s responder", caller.PID, s.descriptor.Name)
	}
	s.peer = caller.Peer
	if s.pid == 0 { // not our child: it was started by systemd or by an earlier monitor
		s.pid, s.since = int(caller.PID), time.Now()
	}
	s.state = sbus.StateRunning
	if s.registered != nil {
		close(s.registered)
		s.registered = nil
	}
	return nil
}

func (s *service) isProcess(pid int) bool {
	return pid == s.pid || pid == responder.Holder(s.claim)
}

// is reports whether the caller is the service's process.
func (s *service) is(caller sbus.Caller) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isProcess(int(caller.PID))
}

func (s *service) unregister(caller sbus.Caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peer != caller.Peer {
		return
	}
	s.peer = 0
	if s.socket == nil { // nobody else will tell
		s.pid, s.state = 0, sbus.StateIdle
	}
}

// awaitRegistration waits for a process that was just started to register.
func (s *service) awaitRegistration(ctx context.Context) {
	s.mu.Lock()
	registered := s.registered
	s.mu.Unlock()
	if registered == nil {
		return
	}
	select {
	case <-registered:
	case <-ctx.Done():
	}
}

// status returns what the monitor knows of the service, and its connection to
// the bus, 0 if it has none.
func (s *service) status() (sbus.ServiceStatus, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := sbus.ServiceStatus{
		Name: s.descriptor.Name, State: s.state, PID: uint32(s.pid),
		Restarts: s.restarts, LastExit: s.lastExit, Socket: s.path,
	}
	if s.pid != 0 {
		status.Since = s.since.Unix()
	}
	return status, s.peer
}

func (s *service) setState(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
	if state == sbus.StateIdle || state == sbus.StateBackOff {
		s.pid = 0
	}
}

func (s *service) seconds(option string) time.Duration {
	return time.Duration(s.options.Int(option)) * time.Second
}

// libexecDir is where make install puts the responders; the build sets it. A
// program that was built beside sssd is preferred.
var libexecDir = "/usr/libexec/sssd"

func programPath(name string) string {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(beside); err == nil {
			return beside
		}
	}
	return filepath.Join(libexecDir, name)
}

// argvOf is the command line of a responder: its command option, split at
// blanks, or its program with the options it shares with the monitor.
func argvOf(d responder.Descriptor, conf *confdb.Snapshot, root responder.Root, logFlags *responder.LogFlags) []string {
	if command := d.Command(conf); len(command) > 0 {
		return command
	}
	argv := append([]string{programPath(d.Program())}, logFlags.Args()...)
	if root != "" {
		argv = append(argv, "--root="+string(root))
	}
	return argv
}
