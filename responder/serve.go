package responder

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gosssd/linux"
	"gosssd/responder/log"
)

// server accepts clients and serves each in a goroutine of its own.
type server struct {
	endpoints []endpoint // the main socket first
	handler   Handler
	log       *log.Logger
	room      int // connections that descriptors suffice for

	activity atomic.Int64 // time of the last read or write of any client, since started
	lastID   atomic.Uint64

	mu      sync.Mutex
	limits  limits
	changed chan struct{} // has a value when limits are new
	conns   map[*Conn]struct{}
	staying map[uint32]int // connections of each user, without those that are told to end
	open    int            // connections that have a descriptor
	evicted uint64         // connections that have made room for others
	refused uint64         // connections that were not taken on
	serving sync.WaitGroup
}

func newServer(endpoints []endpoint, h Handler, logger *log.Logger, fdLimit int, limits limits) *server {
	return &server{
		endpoints: endpoints, handler: h, log: logger, room: roomFor(fdLimit), limits: limits, changed: make(chan struct{}, 1),
		conns: map[*Conn]struct{}{}, staying: map[uint32]int{},
	}
}

// acceptPause is how long nobody is accepted after that has failed.
const acceptPause = 20 * time.Millisecond

// accept serves clients until the deadline of the sockets passes.
func (s *server) accept(ctx context.Context) {
	var accepting sync.WaitGroup
	defer accepting.Wait()
	for _, e := range s.endpoints {
		accepting.Go(func() { s.acceptFrom(ctx, e) })
	}
}

func (s *server) acceptFrom(ctx context.Context, e endpoint) {
	for {
		c, err := e.AcceptUnix()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil:
			// Out of descriptors or memory, of the process or of the system:
			// clients wait in the backlog.
			s.log.Error("cannot accept a client", "error", err)
			s.shrink()
			linux.Sleep(ctx, acceptPause)
			continue
		}
		s.admit(ctx, e, c)
	}
}

func (s *server) admit(ctx context.Context, e endpoint, c *net.UnixConn) {
	conn, err := e.newConn(c, s.lastID.Add(1), s.log, &s.activity)
	if err != nil {
		s.countRefused()
		s.log.Warn("a client is refused", "error", err)
		_ = c.Close()
		return
	}
	if !s.add(conn) {
		conn.Log.Warn("a client is refused: there is no descriptor for it", "op", "connect",
			"uid", conn.Peer.UID, "pid", conn.Peer.PID, "program", conn.Peer.Program(), "code", log.Cause("closed"))
		_ = c.Close()
		return
	}
	go func() {
		defer s.remove(conn)
		s.handler.Serve(ctx, conn)
	}()
}

// add takes a connection on, for which another one goes where descriptors run
// short. It fails if there is none that could.
func (s *server) add(conn *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.room && !s.makeRoom(conn.Peer.UID) {
		s.refused++
		return false
	}
	s.conns[conn] = struct{}{}
	s.staying[conn.Peer.UID]++
	s.open++
	s.serving.Add(1)
	return true
}

func (s *server) remove(conn *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uncount(conn)
	s.close(conn)
	delete(s.conns, conn)
	s.serving.Done()
}

// backlogTime is how long a draining responder goes on accepting. Clients that
// wait in the backlog would be lost with a socket nobody else holds.
const backlogTime = 10 * time.Millisecond

// drain stops accepting, answers what clients have sent, and returns when the
// last of them is gone or the deadline has passed. accepting is closed when
// accept has returned.
func (s *server) drain(accepting <-chan struct{}, deadline time.Duration) {
	until := time.Now().Add(backlogTime)
	for _, e := range s.endpoints {
		_ = e.SetDeadline(until)
	}
	<-accepting
	for _, e := range s.endpoints {
		_ = e.Close()
	}
	s.endAll()
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(deadline):
		s.log.Warn("clients are cut off at the deadline", "clients", s.cut())
		<-done
	}
}

// endAll tells every client to end.
func (s *server) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		s.end(conn)
	}
}

// cut closes every connection and returns how many there were.
func (s *server) cut() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		s.close(conn)
	}
	return len(s.conns)
}
