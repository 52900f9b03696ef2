package main

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"gosssd/responder"
)

// identity is an identity socket of a service that the monitor holds.
type identity struct {
	responder.IdentitySocket
	held   *socket // nil as long as it cannot be had; guarded by service.mu
	failed bool    // and the log says why; of the supervising goroutine
}

func identitiesOf(sockets []responder.IdentitySocket) []*identity {
	var list []*identity
	for _, s := range sockets {
		list = append(list, &identity{IdentitySocket: s})
	}
	return list
}

// holdIdentities makes those identity sockets the monitor's that are not yet.
// One that cannot be had is nobody else's trouble: it is tried again before the
// next start of the responder.
func (s *service) holdIdentities(kept *kept, later bool) {
	for _, i := range s.identities {
		if s.heldOf(i) != nil {
			continue
		}
		s.note(i, s.holdIdentity(i, kept, later))
	}
}

// note logs once why an identity socket cannot be had.
func (s *service) note(i *identity, err error) {
	if err != nil && !i.failed {
		s.log.Error("an identity socket cannot be had", "service", s.descriptor.Name, "socket", i.Name, "error", err)
	}
	i.failed = err != nil
}

// takePaths has clients come to those sockets that are new. The first error is
// that of the main one.
func (s *service) takePaths() error {
	for _, i := range s.heldIdentities() {
		if held := s.heldOf(i); held.take != nil {
			s.note(i, s.takeIdentity(i, held))
		}
	}
	held := s.held()
	if held == nil {
		return nil
	}
	err := held.takePath()
	if err != nil {
		s.mu.Lock()
		s.socket = nil
		s.mu.Unlock()
		_ = held.file.Close()
	}
	return err
}

// takeIdentity has clients come to an identity socket, or gives it up.
func (s *service) takeIdentity(i *identity, held *socket) error {
	err := held.takePath()
	if err == nil {
		err = i.Own()
	}
	if err != nil {
		s.setHeld(i, nil)
		held.close()
	}
	return err
}

// holdIdentity listens for the clients of one identity socket. It is root's
// until it is the user's, so that nobody else can connect meanwhile. The
// directory is not made: it keeps strangers from a socket whose mode does not.
func (s *service) holdIdentity(i *identity, kept *kept, later bool) error {
	if _, err := os.Stat(filepath.Dir(i.Path)); err != nil {
		return err
	}
	held, err := holdSocket(i.Path, 0o600, kept)
	if err != nil {
		return err
	}
	s.setHeld(i, held)
	if later && held.take != nil {
		return nil
	}
	return s.takeIdentity(i, held)
}

// keepIdentities goes on holding identity sockets as they were, for a process
// that goes on with its options.
func (s *service) keepIdentities(kept *kept) {
	for _, i := range s.identities {
		if !kept.has(i.Path) {
			continue
		}
		held, err := holdSocket(i.Path, 0o600, kept)
		if err != nil {
			s.log.Error("an identity socket cannot be had", "service", s.descriptor.Name, "socket", i.Name, "error", err)
			continue
		}
		s.setHeld(i, held)
	}
}

func (s *service) setHeld(i *identity, held *socket) {
	s.mu.Lock()
	old := i.held
	i.held = held
	s.mu.Unlock()
	if old != nil {
		_ = old.file.Close()
	}
}

func (s *service) heldOf(i *identity) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return i.held
}

// heldIdentities are those that the monitor has.
func (s *service) heldIdentities() []*identity {
	var list []*identity
	for _, i := range s.identities {
		if s.heldOf(i) != nil {
			list = append(list, i)
		}
	}
	return list
}

// allKept reports whether all sockets of the service outlived an execution of
// sssd.
func (s *service) allKept(kept *kept) bool {
	all := kept.has(s.path)
	for _, i := range s.identities {
		all = all && kept.has(i.Path)
	}
	return all
}

// allHeld are the sockets that the monitor has of the service, the main one
// first. The caller holds mu.
func (s *service) allHeld() []*socket {
	var held []*socket
	if s.socket != nil {
		held = append(held, s.socket)
	}
	for _, i := range s.identities {
		if i.held != nil {
			held = append(held, i.held)
		}
	}
	return held
}

func (s *service) sockets() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allHeld()
}

// awaitClient returns when a client waits at any of the sockets, or the error
// of one that cannot be waited on.
func awaitClient(ctx context.Context, sockets []*socket) error {
	if len(sockets) == 1 {
		return sockets[0].awaitClient(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan error, len(sockets)) // the first counts
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for _, held := range sockets {
		waiting.Go(func() { results <- held.awaitClient(ctx) })
	}
	defer cancel()
	return <-results
}

// lendAll returns the sockets as files for a child, the main one first, and the
// names that the child knows them by. The caller closes the files.
func (s *service) lendAll() (files []*os.File, names []string, err error) {
	lend := func(held *socket, name string) {
		var file *os.File
		if err == nil {
			file, err = held.lend()
		}
		if err == nil {
			files, names = append(files, file), append(names, name)
		}
	}
	lend(s.held(), s.descriptor.Name)
	for _, i := range s.heldIdentities() {
		lend(s.heldOf(i), i.FDName())
	}
	return files, names, err
}
