package main

import (
	"context"
	"fmt"
	"os"
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
	program  string // executed by a restart; "" is the one that runs
	signals  chan os.Signal

	busSocket  *socket
	ready      atomic.Bool       // sockets answer, the configuration is live
	restarting chan chan<- error // asks for a new start in this process
	background sync.WaitGroup    // of what registrations have begun
	ending     context.Context
}

func newMonitor(list []responder.Descriptor, f *flags, conf *confdb.Snapshot, logger *log.Logger, instance *responder.Instance) *monitor {
	m := &monitor{
		root: f.root, conf: conf, log: logger, since: time.Now(),
		flags: f, instance: instance, restarting: make(chan chan<- error, 1), signals: make(chan os.Signal, 8),
	}
	m.bus = sbus.NewServer(sbus.Options{
		Objects:      []sbus.Object{m.object()},
		MayOwn:       m.mayOwn,
		Disconnected: m.disconnected,
		Log:          logger,
	})
	systemd := responder.SystemdHoldsSockets(conf, f.root)
	for _, d := range list {
		options := conf.Section(d.Section())
		var identities []*identity
		if !systemd {
			identities = identitiesOf(d.IdentitySockets(f.root, conf))
		}
		m.services = append(m.services, &service{
			descriptor: d, options: options, bus: m.bus, log: logger, timeouts: defaultTimeouts, state: sbus.StateIdle,
			unasked: d.Unasked != nil && d.Unasked(conf), systemd: systemd, path: d.SocketPath(f.root, conf), claim: f.root.Path(d.ClaimPath()),
			argv: argvOf(d, conf, f.root, &f.log), level: uint32(f.log.Options(options).Level),
			identities: identities, nextRegistration: make(chan struct{}), socketReplaced: make(chan struct{}, 1),
		})
	}
	return m
}

// busMode lets only the monitor's own user connect to the private bus.
const busMode = 0o600

// readyTime is how long what is ordered behind this service at the start, as
// SSSD's own sssd is, waits for responders that take their time to end: one that
// hangs has 8 s, one with clients that do not end has force_timeout.
const readyTime = 20 * time.Second

// readyWithin replaces the responders that run from before, and tells systemd
// that sssd is ready when that takes longer.
func (m *monitor) readyWithin(limit time.Duration, replace func() error) error {
	early := time.AfterFunc(limit, func() {
		m.log.Warn("responders with an older configuration are not replaced yet", "after", limit)
		responder.Notify("READY=1\nSTATUS=Replacing responders that run with an older configuration")
	})
	defer early.Stop()
	return replace()
}

// run serves until the context ends. ready is called when the bus and all
// sockets answer and no responder runs with an older configuration.
func (m *monitor) run(ctx context.Context, kept *kept, ready func()) error {
	stopBus, err := m.serveBus(kept)
	if err != nil {
		return fmt.Errorf("private bus: %w", err)
	}
	defer stopBus() // after the responders have said what they had to
	background, cancel := context.WithCancel(ctx)
	defer m.background.Wait()
	defer cancel()
	m.ending = background

	var supervised []*supervision
	defer func() {
		for _, s := range slices.Backward(supervised) { // who needs another ends before it
			s.stop()
		}
		for _, s := range m.services {
			s.closeSockets()
		}
	}()
	m.background.Go(func() { feedWatchdog(background) })
	err = m.readyWithin(readyTime, func() error {
		for _, s := range m.services {
			// Each serves again before those that need it are replaced, which may
			// need it for their last answers.
			if err := m.takeOver(ctx, s, kept); err != nil {
				return err
			}
			supervised = append(supervised, s.begin())
		}
		return nil
	})
	if err != nil {
		return err
	}
	kept.closeRest()
	var others sync.WaitGroup
	defer others.Wait()
	others.Go(func() { m.handleSignals(ctx) })
	others.Go(func() { m.guard(ctx) })
	m.ready.Store(true)
	ready()
	m.awaitEnd(ctx)
	responder.Notify("STOPPING=1")
	return nil
}

// serveBus serves the private bus until stop is called.
func (m *monitor) serveBus(kept *kept) (stop func(), err error) {
	if m.busSocket, err = holdSocket(m.root.Path(layout.Current().Bus), busMode, kept); err != nil {
		return nil, err
	}
	listener, err := m.busSocket.listener()
	if err == nil {
		err = m.busSocket.takePath()
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := m.bus.Serve(ctx, listener); err != nil {
			m.log.Error("the private bus has ended", "error", err)
		}
	})
	return func() {
		cancel()
		serving.Wait()
		m.busSocket.close()
	}, nil
}

// awaitEnd returns when the context ends. A restart that succeeds leaves this
// program.
func (m *monitor) awaitEnd(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case result := <-m.restarting:
			err := m.restart()
			m.log.Error("cannot restart", "error", err)
			result <- err
		}
	}
}
