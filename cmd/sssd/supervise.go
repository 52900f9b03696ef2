package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"gosssd/linux"
	"gosssd/sbus"
)

// timeouts bound how long the monitor waits for a responder.
type timeouts struct {
	register time.Duration // from its start to its registration
	healthy  time.Duration // of life, after which an exit is not held against it
	step     time.Duration // of the back-off: 0, 1, 2 … steps
	longest  time.Duration // back-off
	backlog  time.Duration // for which a client may wait to be accepted
	ping     time.Duration // at most, for the answer to a ping
	hung     time.Duration // from SIGTERM to SIGKILL for one that does not answer
	kill     time.Duration // from SIGKILL to the end
}

// defaultTimeouts are those of a monitor outside of tests.
var defaultTimeouts = timeouts{
	register: 10 * time.Second,
	healthy:  30 * time.Second,
	step:     2 * time.Second,
	longest:  30 * time.Second,
	backlog:  time.Second,
	ping:     2 * time.Second,
	hung:     5 * time.Second,
	kill:     5 * time.Second,
}

// supervision is the goroutine that supervises one service.
type supervision struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin supervises the service until stop is called.
func (s *service) begin() *supervision {
	ctx, cancel := context.WithCancel(context.Background())
	v := &supervision{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(v.done)
		s.run(ctx)
	}()
	return v
}

// run supervises the service until the context ends.
func (s *service) run(ctx context.Context) {
	if s.systemd {
		s.attend(ctx)
		return
	}
	if s.adopted != nil {
		s.attendAdopted(ctx)
	}
	s.supervise(ctx)
}

// stop ends the service's process, if it is the monitor's, and returns when
// that has answered its clients.
func (v *supervision) stop() {
	v.cancel()
	<-v.done
}

// supervise starts the responder on a client's arrival and starts it again
// after it has ended, until the context ends; then it lets the process finish.
// One with work that no client asks for is started at once, until it ends by
// itself, which says that the work is done.
func (s *service) supervise(ctx context.Context) {
	working := s.unasked
	if s.successor != nil {
		working = s.watchToEnd(ctx, s.successor, time.Now()) != nil && s.unasked
	}
	for ctx.Err() == nil {
		if s.held() == nil {
			if err := s.hold(&kept{}, false); err != nil {
				s.cannotListen(ctx, err)
				continue
			}
		}
		s.holdIdentities(&kept{}, false) // those that could not be had before
		if pause := s.backOff(); pause > 0 {
			s.setState(sbus.StateBackOff)
			if s.cannotStart() {
				s.refuseClients(ctx, pause)
			} else { // it serves as soon as it is back: clients wait
				linux.Sleep(ctx, pause)
			}
		}
		if !s.cannotStart() { // which is worth saying until it does
			s.setState(sbus.StateIdle)
		}
		if working && ctx.Err() == nil {
			working = s.runOnce(ctx) != nil
			continue
		}
		held := s.sockets()
		if err := awaitClient(ctx, held); err != nil {
			if ctx.Err() == nil && slices.Equal(s.sockets(), held) { // and none was made anew
				s.cannotListen(ctx, err)
			}
			continue
		}
		working = s.runOnce(ctx) != nil && s.unasked
	}
}

// cannotListen notes that the service's socket cannot be had, and waits until
// it is worth another try.
func (s *service) cannotListen(ctx context.Context, err error) {
	s.log.Error("cannot listen for the clients of a responder", "service", s.descriptor.Name, "error", err)
	s.setState(sbus.StateBackOff)
	s.mu.Lock()
	s.lastExit = "no socket: " + err.Error()
	s.mu.Unlock()
	linux.Sleep(ctx, s.timeouts.step)
}

// refuseClients answers clients with an error for a while, since the responder
// has failed again and again and nobody else would.
func (s *service) refuseClients(ctx context.Context, pause time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	var refusing sync.WaitGroup
	defer refusing.Wait()
	for _, held := range s.sockets() {
		refusing.Go(func() { s.refuseClientsOf(ctx, held) })
	}
}

func (s *service) refuseClientsOf(ctx context.Context, held *socket) {
	l, err := held.listener()
	if err != nil {
		s.log.Error("clients of a responder that cannot start wait", "service", s.descriptor.Name, "socket", held.path, "error", err)
		<-ctx.Done()
		return
	}
	defer func() { _ = l.Close() }()
	if n := s.descriptor.Refuse(ctx, l); n > 0 {
		s.log.Warn("clients were answered with an error, since the responder cannot start", "service", s.descriptor.Name, "socket", held.path, "clients", n)
	}
}

// child is a process that the monitor has started.
type child struct {
	process    *os.Process
	exited     chan error      // how it has ended
	registered <-chan struct{} // closed when it registers
}

// startSuccessor starts the process that is to follow the one that runs from
// before, which is about to be ended. It has the sockets, and waits for the other
// to end (responder.ClaimWhenFree): so they outlive both that one and this
// monitor. If it cannot be started, the next client has it tried again.
func (s *service) startSuccessor() {
	if s.systemd || s.held() == nil {
		return
	}
	began := time.Now()
	c, err := s.start()
	if err != nil {
		s.ended(time.Since(began), err)
		return
	}
	s.successor = c
}

// runOnce starts the responder and returns when it has ended. The error is nil
// if it has ended by itself and in order.
func (s *service) runOnce(ctx context.Context) error {
	began := time.Now()
	c, err := s.start()
	if err != nil {
		s.ended(time.Since(began), err)
		return err
	}
	return s.watchToEnd(ctx, c, began)
}

// watchToEnd returns when a child has ended, as runOnce does. Its time to register
// counts from now on.
func (s *service) watchToEnd(ctx context.Context, c *child, began time.Time) error {
	asked, err := s.watch(ctx, c)
	s.ended(time.Since(began), err)
	if asked && err == nil {
		return errAsked
	}
	return err
}

// errAsked says that a responder has ended in order, because it was asked to.
var errAsked = errors.New("the monitor asked for it")

// start executes the program with the main socket as descriptor 3 and those
// with an identity behind it. LISTEN_PID cannot be known before the fork and is
// left out.
func (s *service) start() (*child, error) {
	lent, names, err := s.lendAll()
	defer func() {
		for _, file := range lent {
			_ = file.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	argv := s.commandLine()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(environment(), "LISTEN_FDS="+strconv.Itoa(len(lent)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	cmd.ExtraFiles = lent
	cmd.Stderr = os.Stderr
	cmd.Dir = "/"
	// A group of its own: a terminal's Ctrl-C reaches the monitor alone, which
	// ends responders in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	select {
	case <-s.socketReplaced: // an earlier change does not concern this process
	default:
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		s.pid, s.registered = 0, nil
		return nil, fmt.Errorf("cannot execute %s: %w", argv[0], err)
	}
	s.pid, s.since, s.state = cmd.Process.Pid, time.Now(), sbus.StateStarting
	s.peer, s.registered, s.cause = 0, make(chan struct{}), ""
	c := &child{process: cmd.Process, exited: make(chan error, 1), registered: s.registered}
	go func() { c.exited <- cmd.Wait() }()
	s.log.Info("started", "service", s.descriptor.Name, "pid", s.pid)
	return c, nil
}

// environment is the monitor's, without what the service manager meant for the
// monitor alone.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return name == "NOTIFY_SOCKET" || name == "WATCHDOG_USEC" || name == "WATCHDOG_PID"
	})
}

// watch waits for the process to end. It ends one that does not register in
// time or does not answer, and every one when the context ends; asked tells of
// that.
func (s *service) watch(ctx context.Context, c *child) (asked bool, err error) {
	overdue := time.NewTimer(s.timeouts.register)
	defer overdue.Stop()
	select {
	case err := <-c.exited:
		return false, err
	case <-ctx.Done():
		return true, s.end(c, s.ending())
	case <-overdue.C:
		s.notStarted()
		return true, s.end(c, termination{causeUnregistered, fmt.Sprintf("it has not registered within %v", s.timeouts.register), s.timeouts.hung})
	case <-c.registered:
	}
	living, cancel := context.WithCancel(ctx)
	terminations := make(chan termination, 1)
	go func() { terminations <- s.observe(living) }()
	select {
	case err := <-c.exited:
		cancel()
		<-terminations
		return false, err
	case v := <-terminations:
		cancel()
		if v.reason == "" {
			v = s.ending()
		}
		return true, s.end(c, v)
	}
}

// end asks the child to end, kills it when its time is over, and
// returns how it ended.
func (s *service) end(c *child, v termination) error {
	s.setState(sbus.StateEnding)
	s.log.Info("ending a responder", "service", s.descriptor.Name, "pid", c.process.Pid, "reason", v.reason)
	s.blame(c.process.Pid, v.cause)
	_ = c.process.Signal(syscall.SIGTERM)
	timeout := time.NewTimer(v.grace)
	defer timeout.Stop()
	select {
	case err := <-c.exited:
		return err
	case <-timeout.C:
	}
	s.log.Warn("killing a responder that does not end", "service", s.descriptor.Name, "pid", c.process.Pid)
	_ = c.process.Kill()
	return <-c.exited
}
