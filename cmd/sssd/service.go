package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/confdb"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/sbus"
)

// service is one responder under supervision: the socket that the monitor
// holds for it, and the process that serves it, if one runs.
type service struct {
	descriptor     responder.Descriptor
	options        confdb.View
	unasked        bool   // it has work to do that no client asks for
	systemd        bool   // systemd holds the socket and starts the process
	path           string // of the socket
	claim          string // the file whose lock says that the responder runs
	argv           []string
	level          uint32 // debug mask with which it starts, as configured
	bus            *sbus.Server
	log            *log.Logger
	timeouts       timeouts
	adopted        *linux.Process // of an earlier monitor, which goes on; nil if there is none
	successor      *child         // of a process that was replaced; nil if there was none
	socketReplaced chan struct{}  // tells that a socket had to be made anew
	identities     []*identity    // further sockets that the monitor holds

	mu               sync.Mutex
	takenOver        bool    // a process from before would be known
	socket           *socket // nil where systemd holds it, or as long as it cannot be had
	state            string
	pid              int
	since            time.Time
	peer             uint64        // its connection to the bus; 0 if it has not registered
	nextRegistration chan struct{} // closed, and made anew, whenever a process registers
	registered       chan struct{} // closed when the current process registers, and nil from then on
	failures         int           // exits in a row that count for the back-off
	unstarted        int           // of these, the last ones that ended before they registered
	restarts         uint32
	lastExit         string
	levelOverride    uint32 // debug mask that an administrator has set since; 0 if none
	cause            cause  // why the process was asked to end; "" if it was not
	ends             map[cause]uint64
	pings            pings
}

// register binds a connection of the bus to the service, if it comes from the
// process that the monitor started or that holds the service's claim. It
// returns the debug mask that an administrator has set for it, 0 if none was.
func (s *service) register(caller sbus.Caller) (levelOverride uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isProcess(int(caller.PID)) {
		return 0, fmt.Errorf("process %d is not the %s responder", caller.PID, s.descriptor.Name)
	}
	if int(caller.PID) != s.pid {
		if s.takenOver && !s.systemd {
			return 0, errUnsupervised
		}
		s.pid, s.since = int(caller.PID), time.Now()
	}
	s.peer = caller.Peer
	s.state = sbus.StateRunning
	if s.registered != nil {
		close(s.registered)
		s.registered = nil
	}
	close(s.nextRegistration)
	s.nextRegistration = make(chan struct{})
	return s.levelOverride, nil
}

// errUnsupervised says that a process serves for a service, but is not supervised.
var errUnsupervised = errors.New("it was not started by this process, and has to end")

func (s *service) isProcess(pid int) bool {
	return pid != 0 && (pid == s.pid || pid == responder.HolderPID(s.claim))
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
	if s.systemd { // nobody else will tell
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

// awaitPeer returns the service's connection to the bus, as soon as it has one;
// 0 if the context ends first.
func (s *service) awaitPeer(ctx context.Context) uint64 {
	for {
		s.mu.Lock()
		peer, nextRegistration := s.peer, s.nextRegistration
		s.mu.Unlock()
		if peer != 0 {
			return peer
		}
		select {
		case <-nextRegistration:
		case <-ctx.Done():
			return 0
		}
	}
}

// status returns what the monitor knows of the service, and its connection to
// the bus, 0 if it has none.
func (s *service) status() (sbus.ServiceStatus, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := sbus.ServiceStatus{
		Name: s.descriptor.Name, State: s.state, PID: uint32(s.pid), DebugLevel: s.level,
		Restarts: s.restarts, LastExit: s.lastExit, Socket: s.path,
	}
	if s.levelOverride != 0 {
		status.DebugLevel = s.levelOverride
	}
	if s.pid != 0 {
		status.Since = s.since.Unix()
	}
	return status, s.peer
}

// overrideLevel has the service log what the mask says, from its next start on, and
// returns its connection to the bus, if it runs.
func (s *service) overrideLevel(mask uint32) (peer uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.levelOverride = mask
	return s.peer
}

// handover returns what a new start of sssd needs to have of the service:
// the sockets, and a child that nothing tells of yet.
func (s *service) handover() (held []*socket, child int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.systemd && s.peer == 0 {
		child = s.pid
	}
	return s.allHeld(), child
}

// adopt says which process of the service runs from before; nil is
// none.
func (s *service) adopt(p *linux.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.takenOver = true
	if p == nil {
		return
	}
	s.pid, s.since = p.PID, time.Now()
	if s.peer == 0 {
		s.state = sbus.StateStarting
	}
}

func (s *service) setState(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
	if state == sbus.StateIdle || state == sbus.StateBackOff {
		s.pid = 0
	}
}

// ended records how the process ended, and whether that is held against it.
func (s *service) ended(lived time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	orderly := err == nil && s.registered == nil
	switch {
	case s.registered == nil && s.pid != 0:
		s.unstarted = 0
	case !killed(err): // somebody's kill says nothing about the next start
		s.unstarted++
	}
	s.lastExit = "exit status 0"
	if err != nil {
		s.lastExit = err.Error()
	}
	s.countEnd(err)
	switch {
	case orderly:
		s.failures = 0
	case lived > s.timeouts.healthy:
		s.failures = 1
	default:
		s.failures++
	}
	if !orderly {
		s.restarts++
		s.log.Warn("a responder has ended", "service", s.descriptor.Name, "pid", s.pid, "status", s.lastExit, "restarts", s.restarts)
	}
	if s.registered != nil { // nobody needs to wait for it any more
		close(s.registered)
	}
	s.pid, s.peer, s.registered = 0, 0, nil
}

// killed reports whether a child ended by SIGKILL.
func killed(err error) bool {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// adoptedEnded records that a process of an earlier sssd has ended. How it did
// is known only if it is still a child of ours.
func (s *service) adoptedEnded(p *linux.Process) {
	s.mu.Lock()
	lived := time.Since(s.since)
	s.mu.Unlock()
	status, ours := p.Reap()
	if ours {
		s.ended(lived, exitError(status))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Info("a responder that was started before has ended", "service", s.descriptor.Name, "pid", s.pid)
	s.lastExit = "not known: it was started by an earlier process"
	s.countEndBy(causeUnknown)
	s.pid, s.peer = 0, 0
}

// exitError is what exec.Cmd says of a process that ended with the status.
func exitError(status unix.WaitStatus) error {
	switch {
	case status.Signaled():
		return fmt.Errorf("signal: %v", status.Signal())
	case status.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", status.ExitStatus())
	}
	return nil
}

// notStarted counts a process that has to be ended before it has registered:
// its clients have waited long enough, whatever ends it.
func (s *service) notStarted() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unstarted++
}

// cannotStart reports whether the next process is likely not to serve either.
func (s *service) cannotStart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unstarted > 1
}

// backOff is how long to wait before the next start: 0, 2, 4 … 30 seconds.
func (s *service) backOff() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(time.Duration(max(s.failures-1, 0))*s.timeouts.step, s.timeouts.longest)
}

func (s *service) seconds(option string) time.Duration {
	return time.Duration(s.options.Int(option)) * time.Second
}

// hold makes the service's socket the monitor's. Clients come to a new one at
// once, or later, by takePaths.
func (s *service) hold(kept *kept, later bool) error {
	held, err := holdSocket(s.path, s.descriptor.SocketMode, kept)
	if err == nil && !later {
		err = held.takePath()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	old := s.socket
	s.socket = held
	s.mu.Unlock()
	if old != nil {
		_ = old.file.Close()
	}
	return nil
}

func (s *service) held() *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket
}

func (s *service) closeSockets() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, held := range s.allHeld() {
		held.close()
	}
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

// commandLine is argv with the debug level that an administrator has set, where the program
// is the responder's own.
func (s *service) commandLine() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.levelOverride == 0 || s.options.IsSet("command") {
		return s.argv
	}
	return append(slices.Clip(s.argv), fmt.Sprintf("--debug-level=%#x", s.levelOverride))
}
