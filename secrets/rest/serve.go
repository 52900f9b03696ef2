package rest

import (
	"context"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"gosssd/responder"
	"gosssd/responder/log"
)

// How long a client may take for one request and its answer. Between requests
// the frame disconnects clients that are silent.
const (
	requestTimeout = 60 * time.Second
	answerTimeout  = 120 * time.Second
	betweenTimeout = 24 * time.Hour
	maxHead        = 80 << 10 // bytes of a request's head
)

// start serves the connections that Serve hands over.
func (s *service) start() {
	s.server = &http.Server{
		Handler:        s,
		ReadTimeout:    requestTimeout,
		WriteTimeout:   answerTimeout,
		IdleTimeout:    betweenTimeout,
		MaxHeaderBytes: maxHead,
		ErrorLog:       stdlog.New(s.log.StandardWriter(nil), "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, sessionKey{}, c.(*session))
		},
	}
	go func() { s.served <- s.server.Serve(s.started) }()
}

// Serve answers one client until it is gone. The end of ctx cuts it off.
func (s *service) Serve(ctx context.Context, conn *responder.Conn) {
	s.serve(ctx, &session{socket: conn, peer: conn.Peer, log: conn.Log, gone: make(chan struct{})})
}

func (s *service) serve(ctx context.Context, c *session) {
	socket := c.socket
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	defer stop()
	if trusted(c.peer) {
		rest, err := s.serveRecords(c)
		if err != nil {
			return // the frame closes the connection
		}
		c.socket = &begun{socket: socket, read: rest}
	}
	if s.started.hand(c) {
		<-c.gone
	}
}

// begun is a connection of which some was read already.
type begun struct {
	socket
	read []byte
}

func (b *begun) Read(p []byte) (int, error) {
	if len(b.read) == 0 {
		return b.socket.Read(p)
	}
	n := copy(p, b.read)
	b.read = b.read[n:]
	return n, nil
}

// session is a connection whose end can be waited for.
type session struct {
	socket
	peer responder.Peer
	log  *log.Logger
	once sync.Once
	gone chan struct{}
}

// socket is what net/http looks for in a connection.
type socket interface {
	net.Conn
	CloseWrite() error
}

// Close is called by net/http when it is done with the connection.
func (c *session) Close() error {
	err := c.socket.Close()
	c.once.Do(func() { close(c.gone) })
	return err
}

type sessionKey struct{}

// sessionOf returns the session a request came from.
func sessionOf(r *http.Request) *session { return r.Context().Value(sessionKey{}).(*session) }

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
