package sbus

import (
	"context"
	"maps"
	"os"
	"slices"

	"github.com/godbus/dbus/v5"

	"gosssd/linux"
)

// alreadyRunning is the result of StartServiceByName for a name with an owner.
const alreadyRunning = uint32(2)

// ownerOf returns the unique name behind a unique or well-known name. The bus
// is its own owner.
func (s *Server) ownerOf(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.lookup(name); p != nil {
		return p.unique(), nil
	}
	switch name {
	case BusName:
		return BusName, nil
	case selfName, MonitorName:
		return selfName, nil
	}
	return "", Errorf(ErrorNameHasNoOwner, "%s has no owner", name)
}

// credentialsOf returns the process behind a name.
func (s *Server) credentialsOf(name string) (linux.Peer, error) {
	owner, err := s.ownerOf(name)
	if err != nil {
		return linux.Peer{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.lookup(owner); p != nil {
		return p.cred, nil
	}
	return linux.Peer{PID: int32(os.Getpid()), UID: uint32(os.Geteuid())}, nil
}

// startService starts nothing: that is the business of the monitor's sockets.
func (s *Server) startService(_ context.Context, _ Caller, args []any) ([]any, error) {
	if _, err := s.ownerOf(args[0].(string)); err != nil {
		return nil, Errorf(ErrorServiceUnknown, "%s does not run, and nothing is started by this bus", args[0])
	}
	return []any{alreadyRunning}, nil
}

func (s *Server) nameHasOwner(_ context.Context, _ Caller, args []any) ([]any, error) {
	_, err := s.ownerOf(args[0].(string))
	return []any{err == nil}, nil
}

func (s *Server) getNameOwner(_ context.Context, _ Caller, args []any) ([]any, error) {
	owner, err := s.ownerOf(args[0].(string))
	return []any{owner}, err
}

func (s *Server) listNames(context.Context, Caller, []any) ([]any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []string{BusName, selfName}
	for _, id := range slices.Sorted(maps.Keys(s.peers)) {
		if p := s.lookup(uniqueName(id)); p != nil {
			list = append(list, p.unique())
		}
	}
	return []any{append(list, slices.Sorted(maps.Keys(s.names))...)}, nil
}

func (s *Server) listQueuedOwners(_ context.Context, _ Caller, args []any) ([]any, error) {
	if _, err := s.ownerOf(args[0].(string)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := []string{}
	for _, c := range s.names[args[0].(string)] {
		queue = append(queue, c.peer)
	}
	return []any{queue}, nil
}

func (s *Server) connectionUser(_ context.Context, _ Caller, args []any) ([]any, error) {
	cred, err := s.credentialsOf(args[0].(string))
	return []any{cred.UID}, err
}

func (s *Server) connectionProcess(_ context.Context, _ Caller, args []any) ([]any, error) {
	cred, err := s.credentialsOf(args[0].(string))
	return []any{uint32(cred.PID)}, err
}

func (s *Server) connectionCredentials(_ context.Context, _ Caller, args []any) ([]any, error) {
	cred, err := s.credentialsOf(args[0].(string))
	return []any{map[string]dbus.Variant{
		"UnixUserID": dbus.MakeVariant(cred.UID),
		"ProcessID":  dbus.MakeVariant(uint32(cred.PID)),
	}}, err
}
