package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"gosssd/responder"
	"gosssd/sbus"
)

// patience is how long the monitor waits for a responder.
type patience struct {
	register time.Duration // from its start to its registration
	healthy  time.Duration // of life, after which an exit is not held against it
	step     time.Duration // of the back-off: 0, 1, 2 … steps
	longest  time.Duration // back-off
	kill     time.Duration // from SIGKILL to the end
}

// usual is the patience of a monitor outside of tests.
var usual = patience{
	register: 10 * time.Second,
	healthy:  30 * time.Second,
	step:     2 * time.Second,
	longest:  30 * time.Second,
	kill:     5 * time.Second,
}

const (
	pingMisses   = 3 // unanswered pings until a responder is replaced
	pollInterval = 2 * time.Millisecond
)

// supervision is the goroutine that looks after one service.
type supervision struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin looks after the service until stop is called.
func (s *service) begin() *supervision {
	ctx, cancel := context.WithCancel(context.Background())
	v := &supervision{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(v.done)
		s.look(ctx)
	}()
	return v
}

// look after the service until the context ends.
func (s *service) look(ctx context.Context) {
	switch {
	case s.adopted != 0:
		s.attendAdopted(ctx)
		if s.socket == nil && ctx.Err() == nil {
			if err := s.holdSocket(nil); err != nil {
				s.log.Error("cannot take a socket over", "service", s.descriptor.Name, "error", err)
				return
			}
		}
	case s.socket == nil: // systemd's
		s.attend(ctx)
		return
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
func (s *service) supervise(ctx context.Context) {
	for ctx.Err() == nil {
		if pause := s.backOff(); pause > 0 {
			s.setState(sbus.StateBackOff)
			wait(ctx, pause)
		}
		s.setState(sbus.StateIdle)
		if err := s.socket.awaitClient(ctx); err != nil {
			if ctx.Err() == nil {
				s.log.Error("cannot watch a socket", "service", s.descriptor.Name, "error", err)
				wait(ctx, s.patience.longest)
			}
			continue
		}
		s.runOnce(ctx)
	}
}

// runOnce starts the responder and returns when it has ended.
func (s *service) runOnce(ctx context.Context) {
	began := time.Now()
	exited, err := s.start()
	if err != nil {
		s.ended(time.Since(began), err)
		return
	}
	s.ended(time.Since(began), s.watch(ctx, exited))
}

// start executes the program with the socket as descriptor 3. LISTEN_PID
// cannot be known before the fork and is left out.
func (s *service) start() (exited <-chan error, err error) {
	lent, err := s.socket.lend()
	if err != nil {
		return nil, err
	}
	defer lent.Close()
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Env = append(environment(), "LISTEN_FDS=1", "LISTEN_FDNAMES="+s.descriptor.Name)
	cmd.ExtraFiles = []*os.File{lent}
	cmd.Stderr = os.Stderr
	cmd.Dir = "/"
	// A group of its own: a terminal's Ctrl-C reaches the monitor alone, which
	// ends responders in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot execute %s: %w", s.argv[0], err)
	}
	s.pid, s.since, s.state = cmd.Process.Pid, time.Now(), sbus.StateStarting
	s.peer, s.registered = 0, make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	s.log.Info("started", "service", s.descriptor.Name, "pid", s.pid)
	return done, nil
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
// time or does not answer, and every one when the context ends.
func (s *service) watch(ctx context.Context, exited <-chan error) error {
	s.mu.Lock()
	registered := s.registered
	s.mu.Unlock()
	interval := s.seconds("timeout")
	overdue := time.NewTimer(s.patience.register)
	defer overdue.Stop()
	ping := time.NewTicker(interval)
	defer ping.Stop()
	for misses := 0; ; {
		select {
		case err := <-exited:
			return err
		case <-ctx.Done():
			return s.end(exited, "sssd is ending")
		case <-registered:
			registered = nil
			overdue.Stop()
		case <-overdue.C:
			return s.end(exited, fmt.Sprintf("it has not registered within %v", s.patience.register))
		case <-ping.C:
			if registered != nil {
				continue
			}
			if s.ping(ctx, interval) {
				misses = 0
			} else if misses++; misses == pingMisses {
				return s.end(exited, fmt.Sprintf("it has not answered %d pings", pingMisses))
			}
		}
	}
}

// end asks the child to end, kills it at the deadline, and returns how it ended.
func (s *service) end(exited <-chan error, reason string) error {
	s.setState(sbus.StateEnding)
	s.log.Info("ending a responder", "service", s.descriptor.Name, "pid", s.pid, "reason", reason)
	_ = syscall.Kill(s.pid, syscall.SIGTERM)
	select {
	case err := <-exited:
		return err
	case <-time.After(s.seconds("force_timeout")):
	}
	s.log.Warn("killing a responder that does not end", "service", s.descriptor.Name, "pid", s.pid)
	_ = syscall.Kill(s.pid, syscall.SIGKILL)
	return <-exited
}

func (s *service) ping(ctx context.Context, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s.mu.Lock()
	peer := s.peer
	s.mu.Unlock()
	_, err := s.bus.Call(ctx, peer, sbus.ServicePath, sbus.PeerInterface, "Ping")
	return err == nil || ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled)
}

// attend watches a responder that systemd starts and restarts: the monitor ends
// one that hangs.
func (s *service) attend(ctx context.Context) {
	interval := s.seconds("timeout")
	ping := time.NewTicker(interval)
	defer ping.Stop()
	for misses := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ping.C:
		}
		status, peer := s.status()
		if peer == 0 || s.ping(ctx, interval) {
			misses = 0
			continue
		}
		if misses++; misses == pingMisses {
			s.terminate(ctx, int(status.PID), fmt.Sprintf("it has not answered %d pings", pingMisses))
			misses = 0
		}
	}
}

// terminate ends a process that is not a child of the monitor, and returns
// when its claim is free.
func (s *service) terminate(ctx context.Context, pid int, reason string) {
	s.log.Info("ending a responder", "service", s.descriptor.Name, "pid", pid, "reason", reason)
	_ = syscall.Kill(pid, syscall.SIGTERM)
	if s.awaitClaim(ctx, pid, s.seconds("force_timeout")) {
		return
	}
	s.log.Warn("killing a responder that does not end", "service", s.descriptor.Name, "pid", pid)
	_ = syscall.Kill(pid, syscall.SIGKILL)
	s.awaitClaim(ctx, pid, s.patience.kill)
}

// awaitClaim waits until the process has given its claim up, and reports
// whether it came to that.
func (s *service) awaitClaim(ctx context.Context, pid int, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for responder.Holder(s.claim) == pid {
		if ctx.Err() != nil {
			return false
		}
		wait(ctx, pollInterval)
	}
	_, _ = syscall.Wait4(pid, nil, 0, nil) // reaps a child from before a restart
	return true
}

// ended records how the process ended, and whether that is held against it.
func (s *service) ended(lived time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	orderly := err == nil && s.registered == nil
	s.lastExit = "exit status 0"
	if err != nil {
		s.lastExit = err.Error()
	}
	switch {
	case orderly:
		s.failures = 0
	case lived > s.patience.healthy:
		s.failures = 1
	default:
		s.failures++
	}
	if !orderly {
		s.restarts++
		s.log.Warn("a responder has ended", "service", s.descriptor.Name, "pid", s.pid, "status", s.lastExit, "restarts", s.restarts)
	}
	s.pid, s.peer = 0, 0
}

// backOff is how long to wait before the next start: 0, 2, 4 … 30 seconds.
func (s *service) backOff() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(time.Duration(max(s.failures-1, 0))*s.patience.step, s.patience.longest)
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
