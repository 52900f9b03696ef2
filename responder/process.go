package responder

import (
	"context"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder/log"
)

// process is a running responder: its clients, its place on the monitor's
// bus, and the configuration in force.
type process struct {
	descriptor Descriptor
	database   string
	log        *log.Logger
	logFlags   LogFlags // which win over the configuration
	handler    Handler
	server     *server
	bus        *attachment
	since      time.Time
	conf       atomic.Pointer[confdb.Snapshot]
	pending    atomic.Pointer[[]string] // options of the database that need a restart

	drainOnce sync.Once
	drain     chan struct{} // closed when the monitor asks the process to end
}

// serve runs until something ends the process, and then lets the clients
// finish.
func (p *process) serve(ctx context.Context, signals <-chan os.Signal, handed bool) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		p.server.accept(ctx)
	}()
	running.Go(func() { p.bus.run(ctx, p.objects()) })
	idle := make(chan struct{})
	running.Go(func() {
		if p.server.watchIdle(ctx, handed) { // otherwise nobody would start the process again
			close(idle)
		}
	})
	Notify("READY=1")
	for _, e := range p.server.endpoints[1:] {
		p.log.Info("an identity socket", "socket", e.identity.socket, "path", linux.SocketPath(e.UnixListener), "uid", e.identity.uid)
	}
	p.log.Info("ready", "socket", linux.SocketPath(p.server.endpoints[0].UnixListener), "generation", p.conf.Load().Generation)

	reason := p.wait(signals, idle)
	Notify("STOPPING=1")
	p.log.Info("ending", "reason", reason)
	p.server.drain(accepting, p.forceTimeout())
}

// wait handles signals until one of them, the monitor or idleness ends the
// process, and returns which.
func (p *process) wait(signals <-chan os.Signal, idle <-chan struct{}) string {
	for {
		select {
		case <-idle:
			return "idle"
		case <-p.drain:
			return "the monitor asked for it"
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				if err := p.rotateLogs(); err != nil {
					p.log.Error("cannot reopen the log file", "error", err)
				}
			case syscall.SIGUSR1, syscall.SIGUSR2:
				p.log.Info("a signal without meaning here is ignored", "signal", s)
			default:
				return s.String()
			}
		}
	}
}

func (p *process) requestDrain() { p.drainOnce.Do(func() { close(p.drain) }) }

func (p *process) rotateLogs() error {
	if err := p.log.Reopen(); err != nil {
		return err
	}
	p.log.Info("the log file is reopened; configuration is read only when " + layout.Current().Monitor + " starts")
	return nil
}

// reload takes over the live options of the database. What needs a restart
// keeps its value, and with it the process its generation.
func (p *process) reload() error {
	next, err := confdb.Open(p.database, p.descriptor.schema())
	if err != nil {
		return err
	}
	conf, waiting := p.conf.Load().Adopt(next)
	section := conf.Section(p.descriptor.Section())
	p.log.SetMask(p.logFlags.Options(section).Level)
	p.server.setLimits(limitsOf(section))
	p.handler.Reload(conf)
	p.conf.Store(conf)
	p.pending.Store(&waiting)
	p.log.Info("the live options of a new configuration are in force", "generation", next.Generation)
	if len(waiting) > 0 {
		p.log.Warn("some options of the new configuration need a restart", "options", strings.Join(waiting, ", "))
	}
	return nil
}

func (p *process) forceTimeout() time.Duration {
	seconds := p.conf.Load().Section(p.descriptor.Section()).Int("force_timeout")
	return time.Duration(seconds) * time.Second / 2 // well before the monitor kills
}
