package sbus

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/hashicorp/go-hclog"
)

// Defaults of Options.
const (
	DefaultMaxPeers         = 64
	DefaultHandshakeTimeout = 5 * time.Second
	DefaultWriteTimeout     = 10 * time.Second
)

// The pauses after a failure to accept, as when file descriptors run out.
const (
	firstAcceptPause = 5 * time.Millisecond
	lastAcceptPause  = time.Second
)

// Options describe a server.
type Options struct {
	// Objects are what the server itself offers, under MonitorName and to
	// messages without a destination.
	Objects []Object
	// MayOwn decides who may own a name below "sssd."; nil: nobody. Other
	// names are free. It must not call the peer, which waits for it.
	MayOwn func(caller Caller, name string) bool
	// Admit decides by user id who may connect; nil: root and the user the
	// server runs as.
	Admit func(uid uint32) bool
	// Disconnected is called once for each connection that was authenticated,
	// after it has ended and none of its calls is being handled any more. It
	// may be called for several connections at once.
	Disconnected func(Caller)
	Log          hclog.Logger // nil: none

	MaxPeers         int           // 0: DefaultMaxPeers
	HandshakeTimeout time.Duration // 0: DefaultHandshakeTimeout
	WriteTimeout     time.Duration // for one message; 0: DefaultWriteTimeout
}

// Server is the private message bus.
type Server struct {
	opts    Options
	guid    string
	objects *tree         // the monitor's
	bus     *tree         // org.freedesktop.DBus
	serials atomic.Uint32 // of all messages of the server's own

	mu    sync.Mutex
	peers map[uint64]*peer
	names names
}

// selfName is the unique name of the server itself.
const selfName = ":1.0"

// NewServer makes a server; Serve runs it.
func NewServer(opts Options) *Server {
	if opts.MayOwn == nil {
		opts.MayOwn = func(Caller, string) bool { return false }
	}
	if opts.Admit == nil {
		own := uint32(os.Geteuid())
		opts.Admit = func(uid uint32) bool { return uid == 0 || uid == own }
	}
	if opts.Disconnected == nil {
		opts.Disconnected = func(Caller) {}
	}
	if opts.Log == nil {
		opts.Log = hclog.NewNullLogger()
	}
	setDefault(&opts.MaxPeers, DefaultMaxPeers)
	setDefault(&opts.HandshakeTimeout, DefaultHandshakeTimeout)
	setDefault(&opts.WriteTimeout, DefaultWriteTimeout)

	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	s := &Server{opts: opts, guid: hex.EncodeToString(id[:]), peers: make(map[uint64]*peer), names: make(names)}
	s.names.request(MonitorName, selfName, doNotQueue)
	s.objects = newTree(opts.Objects, opts.Log)
	s.bus = newTree([]Object{s.busObject()}, opts.Log)
	return s
}

func setDefault[T comparable](option *T, value T) {
	var zero T
	if *option == zero {
		*option = value
	}
}

// Serve accepts and serves peers until ctx ends, which closes the listener. It
// returns when the last peer has been served, with an error if it had to give
// up accepting earlier. A server serves once.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var peers sync.WaitGroup
	defer peers.Wait()
	defer s.endPeers()
	defer cancel()

	pause := firstAcceptPause
	for id := uint64(1); ; id++ {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on the private bus: %w", err)
		case err != nil:
			s.opts.Log.Warn("cannot accept on the private bus", "error", err)
			wait(ctx, pause)
			pause = min(2*pause, lastAcceptPause)
			continue
		}
		pause = firstAcceptPause
		if p := s.admit(conn, id); p != nil {
			peers.Go(func() { s.servePeer(ctx, p) })
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// endPeers lets every connection end in order.
func (s *Server) endPeers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.peers {
		p.end()
	}
}

// Call calls a method of a peer and returns its results; ctx bounds the time.
// An error reply is returned as an *Error. If the peer is not there, the error
// is ErrNoPeer; if it ends before it answers, ErrClosed.
func (s *Server) Call(ctx context.Context, peer uint64, path dbus.ObjectPath, iface, method string, args ...any) ([]any, error) {
	s.mu.Lock()
	p := s.peers[peer]
	sender, dest := "", ""
	if p != nil && p.named {
		sender, dest = selfName, p.unique()
	}
	s.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("call %s of peer %d: %w", method, peer, ErrNoPeer)
	}
	f, err := newCall(nextSerial(&s.serials), address{sender, dest, path, iface, method}, args)
	if err != nil {
		return nil, err
	}
	results, err := p.call(ctx, f, func(f *frame) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.capture(f)
		return p.offer(f)
	})
	if err != nil {
		return nil, fmt.Errorf("call %s of peer %d: %w", method, peer, err)
	}
	return results, nil
}

// Owner returns the connection that owns a bus name; false if it has no owner
// or the server itself owns it.
func (s *Server) Owner(name string) (Caller, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.lookup(name)
	if p == nil {
		return Caller{}, false
	}
	return p.caller(), true
}

// Emit sends a signal, which one of the server's objects must declare, to the
// peers that have asked for it.
func (s *Server) Emit(path dbus.ObjectPath, iface, member string, args ...any) error {
	if err := checkSignal(s.opts.Objects, path, iface, member, args); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signal(nil, address{sender: selfName, path: path, iface: iface, member: member}, args)
}

// signal sends a signal of the server's own to one peer or, if that is nil, to
// those who have asked for it.
func (s *Server) signal(to *peer, a address, args []any) error {
	if to != nil {
		a.dest = to.unique()
	}
	f, err := newSignal(nextSerial(&s.serials), a, args)
	if err != nil {
		return err
	}
	s.capture(f)
	if to != nil {
		to.send(f)
	} else {
		s.broadcast(f)
	}
	return nil
}

// uniqueName is the name of a peer that has said Hello.
func uniqueName(id uint64) string { return fmt.Sprintf(":1.%d", id) }

// lookup finds the peer behind a unique or well-known name; nil if it is not
// there, or is the server itself.
func (s *Server) lookup(name string) *peer {
	if !strings.HasPrefix(name, ":") {
		name = s.names.owner(name)
	}
	number, _ := strings.CutPrefix(name, ":1.")
	id, err := strconv.ParseUint(number, 10, 64)
	if p := s.peers[id]; err == nil && p != nil && p.named && !p.monitoring && p.unique() == name {
		return p
	}
	return nil
}
