package responder

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/confdb"
	"gosssd/responder/log"
)

// reserve is how many descriptors are kept for other uses than clients.
const reserve = 32

// server accepts clients and serves each in a goroutine of its own.
type server struct {
	listener *net.UnixListener
	handler  Handler
	log      *log.Logger
	loyal    bool // Descriptor.LoyalClients
	fdLimit  int

	activity atomic.Int64 // time of the last read or write of any client, since started
	lastID   atomic.Uint64

	mu      sync.Mutex
	limits  limits
	conns   map[*Conn]struct{}
	byUID   map[uint32]int
	serving sync.WaitGroup
}

func newServer(d Descriptor, l *net.UnixListener, h Handler, logger *log.Logger, fdLimit int, limits limits) *server {
	return &server{
		listener: l, handler: h, log: logger, loyal: d.LoyalClients, fdLimit: fdLimit,
		limits: limits, conns: map[*Conn]struct{}{}, byUID: map[uint32]int{},
	}
}

// limits are the live options of the frame.
type limits struct {
	clientIdle    time.Duration
	responderIdle time.Duration // 0: never
}

func limitsOf(section confdb.View) limits {
	seconds := func(key string) time.Duration { return time.Duration(section.Int(key)) * time.Second }
	return limits{clientIdle: seconds("client_idle_timeout"), responderIdle: seconds("responder_idle_timeout")}
}

// accept serves clients until the listener's deadline passes.
func (s *server) accept(ctx context.Context) {
	for {
		c, err := s.listener.AcceptUnix()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return
		case err != nil:
			// Out of descriptors or memory: clients wait in the backlog.
			s.log.Warn("cannot accept a client", "error", err)
			s.closeIdle(s.idleLimit())
			time.Sleep(100 * time.Millisecond)
			continue
		}
		s.admit(ctx, c)
	}
}

func (s *server) admit(ctx context.Context, c *net.UnixConn) {
	conn, err := newConn(c, s.lastID.Add(1), s.log, &s.activity)
	if err != nil {
		s.log.Warn("a client is refused", "error", err)
		c.Close()
		return
	}
	if !s.add(conn) {
		s.log.Warn("a client is refused: the user has too many connections", "uid", conn.Peer.UID, "pid", conn.Peer.PID)
		c.Close()
		return
	}
	go func() {
		defer s.remove(conn)
		s.handler.Serve(ctx, conn)
	}()
}

// add makes room for a client where descriptors run short, and keeps one user
// from taking more than half of them.
func (s *server) add(conn *Conn) bool {
	room := s.fdLimit - reserve
	s.mu.Lock()
	full := len(s.conns) >= room
	s.mu.Unlock()
	if full {
		s.closeIdle(s.idleLimit())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn.Peer.UID != 0 && s.byUID[conn.Peer.UID] >= room/2 {
		return false
	}
	s.conns[conn] = struct{}{}
	s.byUID[conn.Peer.UID]++
	s.serving.Add(1)
	return true
}

func (s *server) remove(conn *Conn) {
	conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	if s.byUID[conn.Peer.UID]--; s.byUID[conn.Peer.UID] == 0 {
		delete(s.byUID, conn.Peer.UID)
	}
	s.serving.Done()
}

// closeIdle disconnects the clients that have been silent for limit. Reading
// is shut first, so that a request on its way is answered and the client's
// next one fails before it is sent.
func (s *server) closeIdle(limit time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		if conn.idle() >= limit {
			conn.Log.Trace("a client is disconnected", "uid", conn.Peer.UID, "pid", conn.Peer.PID)
			_ = conn.CloseRead()
		}
	}
}

func (s *server) idleLimit() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits.clientIdle
}

func (s *server) setLimits(l limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
}

// watchIdle closes idle clients and returns when the responder itself has
// been idle, or the context ends.
func (s *server) watchIdle(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !s.loyal {
			s.closeIdle(s.idleLimit())
		}
		if s.idle() && s.handler.MayExit() {
			return
		}
	}
}

func (s *server) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	quiet := time.Since(started) - time.Duration(s.activity.Load())
	return s.limits.responderIdle > 0 && len(s.conns) == 0 && quiet >= s.limits.responderIdle
}

// backlogTime is how long a draining responder goes on accepting. Clients that
// wait in the backlog would be lost with a socket nobody else holds.
const backlogTime = 10 * time.Millisecond

// drain stops accepting, answers what clients have sent, and returns when the
// last of them is gone or the deadline has passed. accepting is closed when
// accept has returned.
func (s *server) drain(accepting <-chan struct{}, deadline time.Duration) {
	_ = s.listener.SetDeadline(time.Now().Add(backlogTime))
	<-accepting
	s.listener.Close()
	s.closeIdle(0)
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

// cut closes every connection and returns how many there were.
func (s *server) cut() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		conn.UnixConn.Close()
	}
	return len(s.conns)
}

func (s *server) clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// limitDescriptors applies fd_limit, as far as the hard limit allows, and
// returns what is in force.
func limitDescriptors(want int64) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	limit.Cur = min(uint64(want), limit.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(limit.Cur), nil
}
