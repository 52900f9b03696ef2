package responder

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/linux"
	"gosssd/responder/log"
	"gosssd/sbus"
)

// registerTimeout bounds each call to the monitor.
const registerTimeout = 10 * time.Second

// The pauses between attempts to find a monitor, which are cut short when its
// socket is made.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Minute
	// lastBlindRetry is where a monitor is there and does not take us on, or
	// where the directory of the socket cannot be watched.
	lastBlindRetry = time.Second
)

// attachment is the responder's end of the private bus: it looks for the
// monitor, registers, and looks for the next one when that is gone. The
// responder serves its clients all the while. A monitor that is killed leaves its
// sockets to the responder, which lends them to the next one.
type attachment struct {
	sockets []*net.UnixListener // without those that systemd holds
	socket  string
	name    string
	log     *log.Logger
	signals []sbus.Signal // of the descriptor
	conn    atomic.Pointer[sbus.Conn]
	queue   signalQueue
}

func (a *attachment) run(ctx context.Context, objects []sbus.Object) {
	for pause := firstRetry; ctx.Err() == nil; pause = min(2*pause, lastRetry) {
		// Before the attempt, so that no socket comes unnoticed after it.
		sockets, watchErr := linux.NewWatch(filepath.Dir(a.socket))
		conn, err := a.register(ctx, objects)
		if err != nil {
			if a.log.IsTrace() {
				a.log.Trace("no monitor yet", "error", err)
			}
			if watchErr != nil || !nobodyListens(err) {
				linux.Sleep(ctx, min(pause, lastBlindRetry))
			} else if sockets.Wait(ctx, pause) {
				pause = firstRetry / 2
			}
		}
		if watchErr == nil {
			_ = sockets.Close() // nothing was written
		}
		if err != nil {
			continue
		}
		a.conn.Store(conn)
		a.log.Info("registered with the monitor")
		select {
		case <-conn.Done():
			a.log.Info("the monitor is gone, looking for the next one")
		case <-ctx.Done():
			a.send(conn, a.queue.take())
		}
		a.conn.Store(nil)
		_ = conn.Close()
		pause = firstRetry
	}
}

// nobodyListens reports whether there will be no monitor before there is a new
// socket.
func nobodyListens(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED)
}

func (a *attachment) register(ctx context.Context, objects []sbus.Object) (*sbus.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	conn, err := sbus.Dial(ctx, a.socket, objects, a.log, a.sockets...)
	if err != nil {
		return nil, err
	}
	if err := conn.RequestName(ctx, sbus.ServiceName(a.name)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	_, err = conn.Call(ctx, sbus.MonitorName, sbus.MonitorPath, sbus.MonitorInterface, "RegisterService",
		a.name, sbus.ServiceVersion, sbus.TypeService)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// emit sends a signal of the responder's own interface, after a while; without
// a monitor nobody could receive it.
func (a *attachment) emit(member string, values ...any) {
	if a.conn.Load() == nil {
		return
	}
	if !slices.ContainsFunc(a.signals, func(s sbus.Signal) bool { return s.Name == member }) {
		a.log.Error("a signal cannot be sent, it is not in the descriptor", "member", log.Cause(member))
		return
	}
	if a.queue.add(waitingSignal{member, values}) {
		time.AfterFunc(signalDelay, func() {
			// Taken also where nobody is left to hear them: the first of
			// those that come later has to find none waiting.
			signals := a.queue.take()
			if conn := a.conn.Load(); conn != nil {
				a.send(conn, signals)
			}
		})
	}
}

func (a *attachment) send(conn *sbus.Conn, signals []waitingSignal) {
	for _, s := range signals {
		err := conn.Emit(sbus.ResponderPath(a.name), sbus.ResponderInterface(a.name), s.member, s.values...)
		if errors.Is(err, sbus.ErrClosed) {
			return // nobody is left to hear of the others
		}
		if err != nil {
			a.log.Warn("a signal cannot be sent", "member", log.Cause(s.member), "error", err)
		}
	}
}
