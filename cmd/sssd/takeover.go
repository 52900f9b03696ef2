package main

import (
	"context"
	"time"

	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/sbus"
)

// findTime is how long a responder that outlived the last monitor may take to
// find this one.
const findTime = 3 * time.Second

// condition is what a responder that runs from before says of itself.
type condition struct {
	peer     uint64 // its connection to the bus; 0 if it has none
	answers  bool
	volatile bool // it has the only copy of something in its memory
	current  bool // all of the configuration is in force
	replaced bool // its program was replaced by another version
}

// takeOver makes a service this monitor's: it holds the socket, and sees to it
// that a responder that runs from before has the present configuration and
// program. One for which the live options are not enough, or whose socket
// cannot be had, is replaced; but not one that has the only copy of something in
// its memory.
//
// This monitor may be killed at any moment, and clients still find somebody who
// has the socket: it is the one that the responder has, if that lends it, and
// the next responder has it before the last one ends.
func (m *monitor) takeOver(ctx context.Context, s *service, kept *kept) error {
	survivor, timeout := s.survivor(kept)
	var found condition
	s.adopt(survivor)
	if survivor != nil {
		found = m.refresh(ctx, s, survivor, timeout)
		if s.systemd && ctx.Err() != nil { // it is systemd's, and goes on without us
			survivor.Close()
			return nil
		}
		m.borrow(s, found.peer, kept)
	}
	keep := found.volatile || found.current && !found.replaced && (s.systemd || s.allKept(kept))
	replace := survivor != nil && !keep
	switch {
	case s.systemd:
		if stopped := m.openUnits(ctx, s, survivor != nil && found.volatile); stopped && survivor != nil {
			s.release(survivor.PID)
			survivor.Close()
			return nil
		}
	case keep && !kept.has(s.path): // its socket is its own until it ends
		m.log.Warn("a responder with caches in memory goes on; its socket is taken over when it ends", "service", s.descriptor.Name, "pid", survivor.PID)
		s.keepIdentities(kept)
	default:
		if err := s.hold(kept, replace); err != nil {
			if !kept.Again {
				return err
			}
			m.log.Error("a socket cannot be had and is tried again", "service", s.descriptor.Name, "error", err)
		}
		if keep && !found.current { // its clients count as who they did when it started
			s.keepIdentities(kept)
		} else {
			s.holdIdentities(kept, replace)
		}
	}
	if survivor != nil {
		m.replaceOrKeep(ctx, s, survivor, found, keep)
	}
	return nil
}

// replaceOrKeep ends a responder that runs from before, or lets it go on.
func (m *monitor) replaceOrKeep(ctx context.Context, s *service, survivor *linux.Process, found condition, keep bool) {
	if !keep {
		v := termination{causeReplaced, "it runs from before this start of " + layout.Current().Monitor, s.seconds("force_timeout")}
		switch {
		case !found.answers:
			v = termination{causeReplaced, "it runs from before this start of " + layout.Current().Monitor + " and does not answer", s.timeouts.hung}
		case found.replaced:
			v.reason = "its program was replaced"
		}
		s.startSuccessor()
		if err := s.takePaths(); err != nil {
			m.log.Error("a socket cannot be had and is tried again", "service", s.descriptor.Name, "error", err)
		}
		// A stop of sssd meanwhile is no reason to be less patient.
		s.terminate(context.WithoutCancel(ctx), survivor, v)
		survivor.Reap()
		s.release(survivor.PID)
		survivor.Close()
		return
	}
	if found.replaced {
		m.log.Warn("a responder with caches in memory goes on with its old program", "service", s.descriptor.Name, "pid", survivor.PID)
	}
	if !found.current {
		m.log.Warn("a responder with caches in memory keeps options that need a restart", "service", s.descriptor.Name, "pid", survivor.PID)
	}
	if s.systemd {
		survivor.Close()
		return
	}
	s.adopted = survivor
}

// survivor returns the process of the service that runs from before, and how
// long it may take to find the bus; nil if there is none. One that has just
// been started has no claim yet, but is our child.
func (s *service) survivor(kept *kept) (*linux.Process, time.Duration) {
	if p := responder.Holder(s.claim); p != nil {
		return p, findTime
	}
	pid := kept.Children[s.descriptor.Name]
	if pid == 0 {
		return nil, 0
	}
	p, err := linux.OpenProcess(pid)
	if err != nil {
		return nil, 0
	}
	if !p.IsChild() {
		p.Close()
		return nil, 0
	}
	return p, s.timeouts.register
}

// holder returns the process with the number if it holds the service's claim,
// else nil.
func (s *service) holder(pid int) *linux.Process {
	p := responder.Holder(s.claim)
	if p != nil && p.PID != pid {
		p.Close()
		return nil
	}
	return p
}

// endUnsupervised ends a responder that nobody supervises: it was started by an sssd
// that died before it had its claim, or by hand.
func (s *service) endUnsupervised(ctx context.Context, pid int) {
	p := s.holder(pid)
	if p == nil {
		return
	}
	defer p.Close()
	s.terminate(ctx, p, termination{causeReplaced, "it was not started by this process", s.seconds("force_timeout")})
	if held := s.held(); held != nil {
		_, _ = held.restore() // it may have bound its own socket over ours; else the guard sees to it
	}
}

// release says that the process with the number is the service's no more.
func (s *service) release(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pid == pid {
		s.pid, s.peer, s.state = 0, 0, sbus.StateIdle
	}
}

// refresh waits for a survivor to find the bus, has it take over the live
// options, and returns what it then says of itself.
func (m *monitor) refresh(ctx context.Context, s *service, survivor *linux.Process, timeout time.Duration) (found condition) {
	living, stop := whileLives(ctx, survivor)
	defer stop()
	living, cancel := context.WithTimeout(living, timeout)
	defer cancel()
	peer := s.awaitPeer(living)
	if peer == 0 {
		return condition{}
	}
	_, err := m.bus.Call(living, peer, sbus.ServicePath, sbus.ServiceInterface, "Reload")
	if err != nil {
		m.log.Warn("a responder does not take over the configuration", "service", s.descriptor.Name, "error", err)
	}
	values := s.properties(living, peer)
	found.peer, found.answers = peer, values != nil
	found.volatile, _ = values["Volatile"].Value().(bool)
	found.replaced, _ = values["Replaced"].Value().(bool)
	found.current = values["Generation"].Value() == m.conf.Generation
	return found
}
