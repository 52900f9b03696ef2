package main

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/responder"
	"gosssd/sbus"
)

// findTime is how long a responder that outlived the last monitor may take to
// find this one.
const findTime = 3 * time.Second

// takeOver makes a service this monitor's: it holds the socket, and sees to it
// that a responder that runs from before has the present configuration. One
// for which the live options are not enough, or whose socket cannot be had, is
// ended, and the next client starts another; but not one that has the only copy
// of something in its memory.
func (m *monitor) takeOver(ctx context.Context, s *service, systemd bool, kept kept) error {
	survivor := responder.Holder(s.claim)
	var volatile, current bool
	if survivor != 0 {
		volatile, current = m.refresh(ctx, s)
	}
	_, held := kept[s.path]
	keep := volatile || current && (systemd || held)
	switch {
	case systemd:
	case keep && !held: // its socket is its own until it ends
		m.log.Warn("a responder with caches in memory goes on; its socket is taken over when it ends", "service", s.descriptor.Name, "pid", survivor)
	default:
		if err := s.holdSocket(kept); err != nil {
			return err
		}
	}
	switch {
	case survivor == 0:
	case !keep:
		s.terminate(ctx, survivor, "it runs from before this start of sssd")
	case !systemd:
		s.adopted = survivor
	}
	if keep && !current {
		m.log.Warn("a responder with caches in memory keeps options that need a restart", "service", s.descriptor.Name, "pid", survivor)
	}
	return nil
}

// refresh waits for a survivor to find the bus, has it take over the live
// options, and returns whether it keeps something in memory only, and whether
// all of the configuration is in force. One that does not come hangs, and has
// to go.
func (m *monitor) refresh(ctx context.Context, s *service) (volatile, current bool) {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	peer := m.awaitPeer(ctx, s)
	if peer == 0 {
		return false, false
	}
	_, err := m.bus.Call(ctx, peer, sbus.ServicePath, sbus.ServiceInterface, "Reload")
	if err != nil {
		m.log.Warn("a responder does not take over the configuration", "service", s.descriptor.Name, "error", err)
	}
	values := m.properties(ctx, peer)
	volatile, _ = values["Volatile"].Value().(bool)
	return volatile, values["Generation"].Value() == m.conf.Generation
}

// awaitPeer returns the connection of a survivor to the bus, 0 if it does not
// come.
func (m *monitor) awaitPeer(ctx context.Context, s *service) uint64 {
	for ctx.Err() == nil && responder.Holder(s.claim) != 0 {
		if _, peer := s.status(); peer != 0 {
			return peer
		}
		wait(ctx, pollInterval)
	}
	return 0
}

// properties returns what a responder says of itself; nothing if it does not
// answer.
func (m *monitor) properties(ctx context.Context, peer uint64) map[string]dbus.Variant {
	reply, err := m.bus.Call(ctx, peer, sbus.ServicePath, sbus.PropertiesInterface, "GetAll", sbus.ServiceInterface)
	var values map[string]dbus.Variant
	if err != nil || dbus.Store(reply, &values) != nil {
		return nil
	}
	return values
}

// holdSocket makes the service's socket the monitor's.
func (s *service) holdSocket(kept kept) (err error) {
	held, err := holdSocket(s.path, s.descriptor.SocketMode, kept)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.socket = held
	return err
}

func (s *service) closeSocket() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != nil {
		s.socket.close()
	}
}

// attendAdopted watches a responder that an earlier monitor started until it
// has ended, and ends it together with the monitor.
func (s *service) attendAdopted(ctx context.Context) {
	ended, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer cancel()
		for ended.Err() == nil && responder.Holder(s.claim) == s.adopted {
			wait(ended, adoptedInterval)
		}
	}()
	s.attend(ended)
	if ctx.Err() != nil {
		s.terminate(context.Background(), s.adopted, "sssd is ending")
	}
	s.log.Info("a responder of an earlier sssd has ended", "service", s.descriptor.Name, "pid", s.adopted)
}

// adoptedInterval bounds how long clients of a responder that ended may be
// refused until the monitor holds its socket.
const adoptedInterval = 20 * time.Millisecond
