package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"gosssd/confdb"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/sbus"
)

// monitor is sssd itself: it serves the private bus and supervises the
// responders.
type monitor struct {
	root     responder.Root
	conf     *confdb.Snapshot
	log      *log.Logger
	logFlags *responder.LogFlags
	since    time.Time
	services []*service
	bus      *sbus.Server
}

func newMonitor(list []responder.Descriptor, root responder.Root, conf *confdb.Snapshot, logger *log.Logger, logFlags *responder.LogFlags) *monitor {
	m := &monitor{root: root, conf: conf, log: logger, logFlags: logFlags, since: time.Now()}
	m.bus = sbus.NewServer(sbus.Options{
		Objects:      []sbus.Object{m.object()},
		MayOwn:       m.mayOwn,
		Disconnected: m.disconnected,
		Log:          logger,
	})
	for _, d := range list {
		options := conf.Section(d.Section())
		m.services = append(m.services, &service{
			descriptor: d, options: options, bus: m.bus, log: logger, state: stateIdle,
			path: d.SocketPath(root, conf), claim: root.Path(d.ClaimPath()),
			argv: argvOf(d, options, root, logFlags),
		})
	}
	return m
}

// run serves until the context ends. ready is called when the bus and all
// sockets answer and no responder runs with an older configuration.
func (m *monitor) run(ctx context.Context, ready func()) error {
	listener, err := sbus.Listen(m.root.Path(responder.BusSocket))
	if err != nil {
		return fmt.Errorf("private bus: %w", err)
	}
	busCtx, stopBus := context.WithCancel(context.Background())
	var bus sync.WaitGroup
	defer bus.Wait()
	defer stopBus() // after the responders have said what they had to
	bus.Go(func() {
		if err := m.bus.Serve(busCtx, listener); err != nil {
			m.log.Error("the private bus has ended", "error", err)
		}
	})

	systemd := holdsSockets(m.conf, m.root)
	for _, s := range m.services {
		if !systemd {
			if s.socket, err = holdSocket(s.path, s.descriptor.SocketMode); err != nil {
				return err
			}
			defer s.socket.close()
		}
	}
	var replaced sync.WaitGroup
	for _, s := range m.services {
		replaced.Go(func() { m.replace(ctx, s) })
	}
	replaced.Wait()
	var supervised []*supervision
	for _, s := range m.services {
		supervised = append(supervised, s.begin())
	}
	var others sync.WaitGroup
	others.Go(func() { m.handleSignals(ctx) })
	others.Go(func() { feedWatchdog(ctx) })
	ready()
	<-ctx.Done()
	responder.Notify("STOPPING=1")
	for _, s := range slices.Backward(supervised) { // who needs another ends before it
		s.stop()
	}
	others.Wait()
	return nil
}

// holdsSockets reports whether systemd's units hold the responders' sockets.
func holdsSockets(conf *confdb.Snapshot, root responder.Root) bool {
	switch conf.Section("sssd").String("socket_activation") {
	case "systemd":
		return true
	case "monitor":
		return false
	}
	_, err := os.Stat("/run/systemd/system") // sd_booted(3)
	return err == nil && !root.Within()
}

// replace ends a responder that runs from before this monitor's start: it
// answers what its clients have sent, and the next client starts one with the
// new configuration.
func (m *monitor) replace(ctx context.Context, s *service) {
	if pid := responder.Holder(s.claim); pid != 0 {
		s.terminate(ctx, pid, "it runs from before this start of sssd")
	}
}
