package main

import (
	"context"
	"errors"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/responder"
	"gosssd/sbus"
)

// findTime is how long a responder that outlived the last monitor may take to
// find this one.
const findTime = 3 * time.Second

// takeOver makes a service this monitor's: it holds the socket, and ends a
// responder that runs from before, with an older configuration, so that the
// next client starts one with the new. One that has the only copy of something
// in its memory goes on, and takes over what it can of the new configuration.
func (m *monitor) takeOver(ctx context.Context, s *service, systemd bool, kept kept) error {
	survivor := responder.Holder(s.claim)
	keep := survivor != 0 && m.isVolatile(ctx, s)
	_, held := kept[s.path]
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
	case keep:
		if !systemd {
			s.adopted = survivor
		}
		return m.reload(ctx, s)
	case survivor != 0:
		s.terminate(ctx, survivor, "it runs from before this start of sssd")
	}
	return nil
}

// isVolatile waits for a survivor to find the bus and asks it. One that does
// not come hangs, and has to go.
func (m *monitor) isVolatile(ctx context.Context, s *service) bool {
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	for {
		_, peer := s.status()
		if peer != 0 {
			reply, err := m.bus.Call(ctx, peer, sbus.ServicePath, sbus.PropertiesInterface, "Get", sbus.ServiceInterface, "Volatile")
			var value dbus.Variant
			if err != nil || dbus.Store(reply, &value) != nil {
				return false
			}
			volatile, _ := value.Value().(bool)
			return volatile
		}
		if responder.Holder(s.claim) == 0 || ctx.Err() != nil {
			return false
		}
		wait(ctx, pollInterval)
	}
}

// reload has a responder take over the live options of the configuration.
func (m *monitor) reload(ctx context.Context, s *service) error {
	_, peer := s.status()
	if peer == 0 {
		return errors.New(s.descriptor.Name + " has left the bus")
	}
	ctx, cancel := context.WithTimeout(ctx, s.seconds("timeout"))
	defer cancel()
	_, err := m.bus.Call(ctx, peer, sbus.ServicePath, sbus.ServiceInterface, "Reload")
	return err
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

// attendAdopted watches a responder that is not a child until it has ended,
// and ends it together with the monitor.
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
	s.log.Info("a responder with caches in memory has ended", "service", s.descriptor.Name, "pid", s.adopted)
}

// adoptedInterval bounds how long clients of a responder that ended may be
// refused until the monitor holds its socket.
const adoptedInterval = 20 * time.Millisecond
