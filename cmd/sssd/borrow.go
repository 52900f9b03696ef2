package main

import (
	"net"
	"os"
	"slices"

	"gosssd/linux"
)

// borrow has the sockets that a responder has lent count as kept: it runs from
// before, and has those of the monitor that started it. Clients notice nothing
// of a socket that two processes have. One that clients do not come to any more
// is of no use.
func (m *monitor) borrow(s *service, peer uint64, kept *kept) {
	for _, file := range m.bus.TakeLent(peer) {
		if err := s.borrow(file, kept); err != nil {
			m.log.Warn("a socket of a responder is made anew", "service", s.descriptor.Name, "error", err)
		}
		_ = file.Close()
	}
}

func (s *service) borrow(file *os.File, kept *kept) error {
	if s.systemd {
		return nil
	}
	l, err := net.FileListener(file)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	path := linux.SocketPath(l)
	socket, isUnix := l.(*net.UnixListener)
	if !isUnix || !slices.Contains(s.paths(), path) || kept.has(path) || !reachable(socket, path) {
		return nil
	}
	fd, err := linux.Duplicate(socket)
	if err == nil {
		kept.add(path, fd)
	}
	return err
}

// paths are where the service's sockets are, by the configuration.
func (s *service) paths() []string {
	list := []string{s.path}
	for _, i := range s.identities {
		list = append(list, i.Path)
	}
	return list
}

// reachable reports whether clients of path come to l. It gives l its path back
// if that was lost, as the guard would have.
func reachable(l *net.UnixListener, path string) bool {
	if linux.ListensAt(l, path) {
		(&socket{path: path}).name() // which l lacks if the responder has made it
		return true
	}
	if !linux.ListensAt(l, spare(path)) {
		return false
	}
	restored, err := (&socket{path: path}).restore()
	return restored && err == nil
}
