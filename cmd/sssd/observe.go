package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"gosssd/layout"
	"gosssd/linux"
	"gosssd/sbus"
)

// pingMisses is how many pings a responder may leave unanswered.
const pingMisses = 3

// termination is why a process has to end, and how long it may take.
type termination struct {
	cause  cause
	reason string        // in words; "" if it has not
	grace  time.Duration // from SIGTERM to SIGKILL
}

// ending is the termination of all responders when sssd ends.
func (s *service) ending() termination {
	return termination{causeAsked, layout.Current().Monitor + " is ending", s.seconds("force_timeout")}
}

// observe watches a process that has registered until the context ends, or
// returns why it has to end. It asks for a sign of life now and then, and at
// once where a client waits that nobody accepts.
func (s *service) observe(ctx context.Context) termination {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	waits := make(chan struct{})
	for _, held := range s.sockets() {
		watching.Go(func() { s.watchBacklog(ctx, held, waits) })
	}
	ping := time.NewTicker(s.seconds("timeout"))
	defer ping.Stop()
	for absent := 0; ; {
		select {
		case <-ctx.Done():
			return termination{}
		case <-s.socketReplaced:
			if v := s.socketLost(ctx); v.reason != "" {
				return v
			}
			continue
		case <-waits:
		case <-ping.C:
			absent++
		}
		switch _, peer := s.status(); {
		case peer != 0:
			absent = 0
			if !s.answers(ctx, peer) {
				return termination{causeHung, fmt.Sprintf("it has not answered %d pings", pingMisses), s.timeouts.hung}
			}
		case absent == pingMisses && !s.systemd:
			return termination{causeLeft, "it has left the private bus and does not come back", s.seconds("force_timeout")}
		}
	}
}

// watchBacklog tells when a client has waited longer than it should. Where
// there are no clients it costs nothing, and where there are many it looks now
// and then.
func (s *service) watchBacklog(ctx context.Context, held *socket, waits chan<- struct{}) {
	for {
		if held.awaitClient(ctx) != nil {
			return
		}
		linux.Sleep(ctx, s.timeouts.backlog)
		if !held.clientWaits() {
			continue
		}
		select {
		case waits <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// answers reports whether the process answers one of a few pings.
func (s *service) answers(ctx context.Context, peer uint64) bool {
	for range pingMisses {
		if s.ping(ctx, peer, min(s.seconds("timeout"), s.timeouts.ping)) {
			s.countPing(true)
			return true
		}
		s.countPing(false)
	}
	return false
}

// ping reports whether the process answers in time. One that leaves the bus
// meanwhile, and a ping that is given up, say nothing against it.
func (s *service) ping(ctx context.Context, peer uint64, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_, err := s.bus.Call(ctx, peer, sbus.ServicePath, sbus.PeerInterface, "Ping")
	return !errors.Is(err, context.DeadlineExceeded)
}

// socketLost is the termination of a process whose socket was deleted, and had to
// be made anew: its clients cannot come to it any more.
func (s *service) socketLost(ctx context.Context) termination {
	_, peer := s.status()
	if volatile, _ := s.properties(ctx, peer)["Volatile"].Value().(bool); volatile {
		s.log.Error("the socket of a responder with caches in memory was deleted; new clients reach it no more", "service", s.descriptor.Name)
		return termination{}
	}
	return termination{causeSocket, "its socket was deleted", s.seconds("force_timeout")}
}

// properties returns what a responder says of itself; nothing if it does not
// answer.
func (s *service) properties(ctx context.Context, peer uint64) map[string]dbus.Variant {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	reply, err := s.bus.Call(ctx, peer, sbus.ServicePath, sbus.PropertiesInterface, "GetAll", sbus.ServiceInterface)
	var values map[string]dbus.Variant
	if err != nil || dbus.Store(reply, &values) != nil {
		return nil
	}
	return values
}

// attend watches a responder that systemd starts and restarts: the monitor ends
// one that hangs.
func (s *service) attend(ctx context.Context) {
	if s.unasked {
		s.call(ctx)
	}
	for ctx.Err() == nil {
		v := s.observe(ctx)
		status, _ := s.status()
		if v.reason == "" || status.PID == 0 {
			continue
		}
		if p := s.holder(int(status.PID)); p != nil {
			s.terminate(ctx, p, v)
			p.Close()
			if s.unasked {
				s.call(ctx)
			}
		}
	}
}

// call has systemd start a responder that has work to do, as a client would.
// systemd starts one again that has crashed, and leaves alone one that has
// ended since it was idle.
func (s *service) call(ctx context.Context) {
	for told := false; ctx.Err() == nil; linux.Sleep(ctx, s.timeouts.step) {
		c, err := linux.Dial(ctx, s.path)
		if err == nil {
			_ = c.Close()
			return
		}
		if !told && ctx.Err() == nil {
			told = true
			s.log.Warn("a responder with work to do cannot be started yet", "service", s.descriptor.Name, "error", err)
		}
	}
}

// attendAdopted watches a responder that an earlier monitor started until it
// has ended, and ends it together with the monitor.
func (s *service) attendAdopted(ctx context.Context) {
	p := s.adopted
	defer p.Close()
	living, stop := whileLives(ctx, p)
	v := s.observe(living)
	stop()
	if ctx.Err() != nil {
		v = s.ending()
	}
	if v.reason != "" {
		s.terminate(context.WithoutCancel(ctx), p, v)
	}
	s.adoptedEnded(p)
}

// whileLives returns a context that ends when the process does.
func whileLives(ctx context.Context, p *linux.Process) (living context.Context, stop func()) {
	living, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		_ = p.Wait(living) // whatever ends it, the process or stop
	}()
	return living, func() {
		cancel()
		<-done
	}
}

// terminate ends a process that this monitor has not started, and returns when
// it has ended, or when the context ends: then the process has been asked to
// end, and nobody waits for it.
func (s *service) terminate(ctx context.Context, p *linux.Process, v termination) {
	s.log.Info("ending a responder", "service", s.descriptor.Name, "pid", p.PID, "reason", v.reason)
	s.blame(p.PID, v.cause)
	if err := p.Signal(unix.SIGTERM); err != nil {
		s.log.Error("cannot end a responder", "service", s.descriptor.Name, "error", err)
		return
	}
	if awaitEnd(ctx, p, v.grace) || ctx.Err() != nil {
		return
	}
	s.log.Warn("killing a responder that does not end", "service", s.descriptor.Name, "pid", p.PID)
	if err := p.Signal(unix.SIGKILL); err != nil || !awaitEnd(ctx, p, s.timeouts.kill) {
		s.log.Error("a responder survives SIGKILL", "service", s.descriptor.Name, "pid", p.PID, "error", err)
	}
}

func awaitEnd(ctx context.Context, p *linux.Process, timeout time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return p.Wait(ctx) == nil
}
