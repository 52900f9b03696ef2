package rest

import (
	"context"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"gosssd/responder"
	"gosssd/responder/log"
)

// How long a client may take for one request and its answer. Between requests
// the frame disconnects clients that are silent.
const (
	headTimeout    = 20 * time.Second
	requestTimeout = 60 * time.Second
	answerTimeout  = 60 * time.Second
	betweenTimeout = 24 * time.Hour
	maxHead        = 32 << 10 // bytes of a request's head: a name of vault.MaxKey, percent-encoded, and headers
)

// The memory for what clients have sent and not finished, or asked for and not
// read: of all users together, and of one. sssd_kcm has memory of its own.
const (
	memoryTotal = 64 << 20
	memoryShare = 16 << 20
	kcmMemory   = 64 << 20
)

// start serves the connections that Serve hands over, and gives back what
// memory they took.
func (s *service) start() {
	s.server = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout + answerTimeout,
		IdleTimeout:       betweenTimeout,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          stdlog.New(s.log.StandardWriter(nil), "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, sessionKey{}, c.(*session))
		},
		ConnState: func(c net.Conn, state http.ConnState) { c.(*session).unheard.Store(state == http.StateActive) },
	}
	go func() { s.served <- s.server.Serve(s.handover) }()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.background.Go(func() { s.spare.Run(ctx) })
}

// Serve answers one client until it is gone. The end of ctx cuts it off.
func (s *service) Serve(ctx context.Context, conn *responder.Conn) {
	s.serve(ctx, &session{socket: conn, peer: conn.Peer, log: conn.Log, gone: make(chan struct{})})
}

// Connection is one that need not be a socket. HungUp reports whether the client
// has closed it, although what it sent before can still be read.
type Connection interface {
	net.Conn
	CloseWrite() error
	HungUp() bool
}

// Converse answers one client, as Serve does, over a connection that need not
// be a socket, and of the peer that the caller says.
func (s *service) Converse(ctx context.Context, conn Connection, peer responder.Peer, logger *log.Logger) {
	s.serve(ctx, &session{socket: conn, peer: peer, log: logger, gone: make(chan struct{})})
}

func (s *service) serve(ctx context.Context, c *session) {
	stop := context.AfterFunc(ctx, c.cut)
	defer stop()
	c.service = s
	c.memory = s.memory.Open(c.peer.UID, c.cut)
	defer c.memory.Close()
	if s.handover.hand(c) {
		<-c.gone
	}
	if c.memory.Dropped() {
		s.noteClosed(c, responder.ErrBudget)
	}
}

// session is a connection whose end can be waited for.
type session struct {
	socket
	peer   responder.Peer
	log    *log.Logger
	memory *responder.Holding // of the request that is being answered
	once   sync.Once
	gone   chan struct{}

	op      string // of the present request
	about   target // what that is about, as far as it is known
	service *service
	unheard atomic.Bool // a request has begun to come, and is not given to the service yet
}

// socket is what net/http looks for in a connection. It also has a descriptor,
// or is a Connection.
type socket interface {
	net.Conn
	CloseWrite() error
}

// Close is called by net/http, or after an upgrade, when it is done with the
// connection.
func (c *session) Close() error {
	err := c.socket.Close()
	c.once.Do(func() { close(c.gone) })
	return err
}

// cut ends a connection that is in use.
func (c *session) cut() { _ = c.socket.Close() }

type sessionKey struct{}

// sessionOf returns the session a request came from.
func sessionOf(r *http.Request) *session { return r.Context().Value(sessionKey{}).(*session) }

// takeMemory takes memory for a request or its answer, once for each request;
// it is given back when that is answered. Small ones are not counted.
func takeMemory(r *http.Request, bytes int64) error {
	if bytes <= freeSize {
		return nil
	}
	return sessionOf(r).memory.Take(bytes, headTimeout)
}

// listener gives connections that the frame has accepted to net/http.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newListener() *listener {
	return &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// hand reports whether the connection was taken.
func (l *listener) hand(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.closed:
		return false
	}
}

// Accept waits for the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr is asked for by net/http only.
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
