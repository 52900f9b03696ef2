package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"gosssd/layout"
	"gosssd/linux"
)

// guardPause is how soon something is tried again that could not be restored.
const guardPause = 5 * time.Second

// guard restores what sssd has on disk and others need: paths of sockets that
// were deleted, and a configuration database that was removed or damaged. It
// costs nothing until something happens to them.
func (m *monitor) guard(ctx context.Context) {
	watch, err := linux.NewFileWatch()
	if err != nil {
		m.log.Error("sockets and database are not guarded", "error", err)
		return
	}
	defer watch.Close()
	g := guard{monitor: m, watch: watch, reported: map[string]bool{}, seen: map[string]bool{}}
	for ctx.Err() == nil {
		if g.inspect() {
			_ = watch.Wait(ctx) // until something happens, or the context ends
			continue
		}
		again, cancel := context.WithTimeout(ctx, guardPause)
		_ = watch.Wait(again)
		cancel()
	}
}

type guard struct {
	*monitor
	watch    *linux.FileWatch
	reported map[string]bool // by path: what is wrong with it was logged
	seen     map[string]bool // by path: sockets of systemd that have been there
}

// inspect restores what can be restored, and reports whether all is well.
func (g *guard) inspect() bool {
	well := g.check(g.root.Path(layout.Current().Database), func() (bool, error) {
		return g.conf.Restore(g.root.Path(layout.Current().Database))
	})
	well = g.check(g.busSocket.path, g.busSocket.restore) && well
	for _, s := range g.services {
		well = g.check(s.path, func() (bool, error) { return g.restoreSocket(s) }) && well
		for _, i := range s.heldIdentities() {
			well = g.check(i.Path, func() (bool, error) { return g.restoreIdentity(s, i) }) && well
		}
	}
	return well
}

// check has one path restored if need be, and watched.
func (g *guard) check(path string, restore func() (bool, error)) bool {
	_ = g.watch.Add(path) // before the look, so that nothing is missed; a missing one is seen below
	restored, err := restore()
	if errors.Is(err, errUnused) {
		if !g.reported[path] {
			g.log.Info("nobody listens there; the service is served when its socket unit is started", "path", path)
		}
		g.reported[path] = true
		return true
	}
	if restored {
		g.log.Warn("something that "+layout.Current().Monitor+" needs was deleted or damaged, and is restored", "path", path)
	}
	if err == nil {
		err = g.watch.Add(path)
	}
	if err != nil && !g.reported[path] {
		g.log.Error("something that "+layout.Current().Monitor+" needs is gone", "path", path, "error", err)
	}
	g.reported[path] = err != nil
	return err == nil
}

// These are about the path of a socket of systemd: it is gone, or it has not
// been there yet, since its unit is not started. Beside SSSD nobody needs the
// secrets service unless caches are kept there.
var (
	errSystemds = errors.New("the socket is systemd's: restart its socket unit")
	errUnused   = errors.New("the unit of the socket is not started")
)

// restoreSocket gives a service's socket its path back, or makes a new one if
// that is not possible.
func (g *guard) restoreSocket(s *service) (bool, error) {
	held := s.held()
	if held == nil { // systemd's, or that of a process which goes on without us
		_, err := os.Lstat(s.path)
		switch absent := errors.Is(err, fs.ErrNotExist); {
		case !s.systemd, !absent:
			g.seen[s.path] = true
			return false, nil
		case g.seen[s.path]:
			return false, errSystemds
		}
		return false, errUnused
	}
	restored, err := held.restore()
	if !errors.Is(err, fs.ErrNotExist) {
		return restored, err
	}
	if err := s.hold(&kept{}, false); err != nil {
		return false, err
	}
	s.tellReplaced()
	return true, nil
}

func (s *service) tellReplaced() {
	select {
	case s.socketReplaced <- struct{}{}:
	default: // it is told already
	}
}

// restoreIdentity does the same with an identity socket, which is the
// monitor's.
func (g *guard) restoreIdentity(s *service, i *identity) (bool, error) {
	restored, err := s.heldOf(i).restore()
	if !errors.Is(err, fs.ErrNotExist) {
		return restored, err
	}
	if err := s.holdIdentity(i, &kept{}, false); err != nil {
		return false, err
	}
	s.tellReplaced()
	return true, nil
}
