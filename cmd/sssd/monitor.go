package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gosssd/confdb"
	"gosssd/layout"
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
	since    time.Time
	services []*service
	bus      *sbus.Server
	flags    *flags
	instance *responder.Instance

	ready      atomic.Bool   // sockets answer, the configuration is live
	restarting chan struct{} // asks for a new start in this process
}

func newMonitor(list []responder.Descriptor, f *flags, conf *confdb.Snapshot, logger *log.Logger, instance *responder.Instance) *monitor {
	m := &monitor{
		root: f.root, conf: conf, log: logger, since: time.Now(),
		flags: f, instance: instance, restarting: make(chan struct{}, 1),
	}
	m.bus = sbus.NewServer(sbus.Options{
		Objects:      []sbus.Object{m.object()},
		MayOwn:       m.mayOwn,
		Disconnected: m.disconnected,
		Log:          logger,
	})
	for _, d := range list {
		options := conf.Section(d.Section())
		m.services = append(m.services, &service{
			descriptor: d, options: options, bus: m.bus, log: logger, patience: usual, state: sbus.StateIdle,
			path: d.SocketPath(f.root, conf), claim: f.root.Path(d.ClaimPath()),
			argv: argvOf(d, conf, f.root, &f.log),
		})
	}
	return m
}

// run serves until the context ends. ready is called when the bus and all
// sockets answer and no responder runs with an older configuration.
func (m *monitor) run(ctx context.Context, kept kept, ready func()) error {
	listener, err := sbus.Listen(m.root.Path(layout.Current().Bus))
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

	systemd := responder.SystemdHoldsSockets(m.conf, m.root)
	var supervised []*supervision
	defer func() {
		for _, s := range m.services {
			s.closeSocket()
		}
	}()
	for _, s := range m.services {
		// Each serves again before those that need it are replaced, which may
		// need it for their last answers.
		if err := m.takeOver(ctx, s, systemd, kept); err != nil {
			return err
		}
		supervised = append(supervised, s.begin())
	}
	kept.closeRest()
	var others sync.WaitGroup
	others.Go(func() { m.handleSignals(ctx) })
	others.Go(func() { feedWatchdog(ctx) })
	m.ready.Store(true)
	ready()
	m.awaitEnd(ctx)
	responder.Notify("STOPPING=1")
	for _, s := range slices.Backward(supervised) { // who needs another ends before it
		s.stop()
	}
	others.Wait()
	return nil
}

// awaitEnd returns when the context ends. A restart that succeeds leaves this
// program.
func (m *monitor) awaitEnd(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.restarting:
			m.log.Error("cannot restart", "error", m.restart())
		}
	}
}
