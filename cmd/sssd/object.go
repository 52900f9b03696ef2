package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/godbus/dbus/v5"

	"gosssd/layout"
	"gosssd/responder"
	"gosssd/sbus"
)

// statusTime bounds what sssctl status and a log rotation wait for a responder.
const statusTime = 2 * time.Second

// object is the monitor's object on the private bus.
func (m *monitor) object() sbus.Object {
	return sbus.MonitorObject(sbus.Monitor{
		RegisterService: m.registerService,
		ListServices:    m.listServices,
		SetDebugLevel:   m.setDebugLevel,
		RotateLogs:      m.rotateLogs,
		Restart:         m.requestRestart,
		Metrics:         m.metrics,
		Version:         responder.Version,
		Replaced:        responder.ProgramReplaced,
		Generation:      func() uint64 { return m.conf.Generation },
		Since:           m.since,
	})
}

// mayOwn admits a responder's bus name for its own process only.
func (m *monitor) mayOwn(caller sbus.Caller, name string) bool {
	for _, s := range m.services {
		if sbus.ServiceName(s.descriptor.Name) == name {
			return s.is(caller)
		}
	}
	return false
}

func (m *monitor) registerService(_ context.Context, caller sbus.Caller, name string, _, _ uint16) error {
	s, err := m.named(name)
	var levelOverride uint32
	if err == nil {
		levelOverride, err = s.register(caller)
	}
	if m.ready.Load() { // nobody is taken over any more
		for _, file := range m.bus.TakeLent(caller.Peer) {
			_ = file.Close()
		}
	}
	if errors.Is(err, errUnsupervised) {
		m.background.Go(func() { s.endUnsupervised(m.ending, int(caller.PID)) })
	}
	if err != nil {
		m.log.Warn("a registration is refused", "error", err, "uid", caller.UID, "pid", caller.PID)
		return err
	}
	m.log.Info("registered", "service", name, "pid", caller.PID)
	if levelOverride != 0 { // the caller waits for its answer, so the call follows later
		m.background.Go(func() {
			if err := m.tellLevel(m.ending, caller.Peer, levelOverride); err != nil {
				m.log.Warn("a responder does not take the debug level that was levelOverride", "service", name, "error", err)
			}
		})
	}
	return nil
}

// disconnected notes that a responder has left the bus; whether its process
// still lives is seen by its supervision.
func (m *monitor) disconnected(caller sbus.Caller) {
	for _, s := range m.services {
		s.unregister(caller)
	}
}

func (m *monitor) listServices() []sbus.ServiceStatus {
	state := sbus.StateStarting
	if m.ready.Load() {
		state = sbus.StateRunning
	}
	list := []sbus.ServiceStatus{{
		Name: layout.Current().Monitor, State: state, PID: uint32(os.Getpid()), Since: m.since.Unix(),
		Generation: m.conf.Generation, DebugLevel: uint32(m.log.Mask()), Socket: m.root.Path(layout.Current().Bus),
	}}
	for _, s := range m.services {
		list = append(list, m.statusOf(s))
	}
	return list
}

// statusOf completes a service's status by what the process itself says.
func (m *monitor) statusOf(s *service) sbus.ServiceStatus {
	ctx, cancel := context.WithTimeout(context.Background(), statusTime)
	defer cancel()
	s.awaitRegistration(ctx)
	status, peer := s.status()
	if peer == 0 {
		return status
	}
	values := s.properties(ctx, peer)
	status.Generation, _ = values["Generation"].Value().(uint64)
	if level, ok := values["debug_level"].Value().(uint32); ok {
		status.DebugLevel = level
	}
	return status
}

// setDebugLevel changes what the monitor ("sssd") or a responder logs, until
// sssd starts again.
func (m *monitor) setDebugLevel(ctx context.Context, name string, mask uint32) error {
	if err := responder.CheckDebugLevel(mask); err != nil {
		return err
	}
	if name == layout.Current().Monitor {
		return responder.SetDebugLevel(m.log, mask)
	}
	s, err := m.named(name)
	if err != nil {
		return err
	}
	// One that does not run, as is usual for those that nobody needs, gets the
	// level when it starts.
	peer := s.overrideLevel(mask)
	if peer == 0 {
		return nil
	}
	return m.tellLevel(ctx, peer, mask)
}

// tellLevel has a responder log what the mask says.
func (m *monitor) tellLevel(ctx context.Context, peer uint64, mask uint32) error {
	_, err := m.bus.Call(ctx, peer, sbus.ServicePath, sbus.PropertiesInterface, "Set",
		sbus.ServiceInterface, "debug_level", dbus.MakeVariant(mask))
	return err
}

// rotateLogs reopens the logs of the monitor and of every running responder.
func (m *monitor) rotateLogs(ctx context.Context) error {
	problems := []error{m.log.Reopen()}
	for _, s := range m.services {
		problems = append(problems, m.rotateLogsOf(ctx, s))
	}
	return errors.Join(problems...)
}

// rotateLogsOf waits for a responder that is starting: it has its log open.
func (m *monitor) rotateLogsOf(ctx context.Context, s *service) error {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	s.awaitRegistration(ctx)
	_, peer := s.status()
	if peer == 0 {
		return nil
	}
	if _, err := m.bus.Call(ctx, peer, sbus.ServicePath, sbus.ServiceInterface, "rotateLogs"); err != nil {
		return fmt.Errorf("%s: %w", s.descriptor.Name, err)
	}
	return nil
}

func (m *monitor) named(name string) (*service, error) {
	for _, s := range m.services {
		if s.descriptor.Name == name {
			return s, nil
		}
	}
	return nil, sbus.Errorf(sbus.ErrorNotFound, "there is no service %q", name)
}
