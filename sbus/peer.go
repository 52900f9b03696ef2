package sbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// maxOutstanding bounds how many calls of one peer may wait for other peers.
const maxOutstanding = 64

// peer is the server's end of one connection. Fields after the link are
// guarded by the server's mutex.
type peer struct {
	*link
	id   uint64
	cred linux.Peer

	lent        []*os.File // sockets that it has lent
	named       bool       // has said Hello, and so has its unique name
	monitoring  bool       // has become a monitor: receives everything, may say nothing
	rules       []rule
	unanswered  map[callID]struct{} // calls that were passed to it and await its reply
	outstanding int                 // calls of its own that others have not answered
}

// callID is a call that one peer has made of another.
type callID struct {
	caller uint64
	serial uint32
}

func (p *peer) unique() string { return uniqueName(p.id) }

func (p *peer) caller() Caller {
	c := Caller{Peer: p.id, UID: p.cred.UID, PID: p.cred.PID}
	if p.named {
		c.Name = p.unique()
	}
	return c
}

// errOutside: a peer is known by the number of its process, and 0 means none.
var errOutside = errors.New("the process is outside of this PID namespace, where it has no number")

// admit takes a new connection on, or closes it.
func (s *Server) admit(conn *net.UnixConn, id uint64) *peer {
	cred, err := linux.PeerOf(conn)
	if err == nil && !s.opts.Admit(cred.UID) {
		err = errors.New("user is not admitted")
	}
	if err == nil && cred.PID == 0 {
		err = errOutside
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && len(s.peers) >= s.opts.MaxPeers {
		err = fmt.Errorf("all %d connections are in use", s.opts.MaxPeers)
	}
	if err != nil {
		s.opts.Log.Warn("refusing a connection to the private bus", "uid", cred.UID, "pid", cred.PID, "error", err)
		_ = conn.Close()
		return nil
	}
	log := s.opts.Log.With("peer", id, "uid", cred.UID, "pid", cred.PID)
	p := &peer{link: newLink(conn, &s.serials, s.opts.WriteTimeout, log), id: id, cred: cred, unanswered: make(map[callID]struct{})}
	s.peers[id] = p
	return p
}

// servePeer serves one connection from its handshake to its end.
func (s *Server) servePeer(ctx context.Context, p *peer) {
	authenticated := false
	err := s.handshake(p)
	if err == nil {
		authenticated = true
		p.log.Debug("peer has connected")
		err = p.run(ctx, func(f *frame) error { return s.handle(ctx, p, f) })
	}
	_ = p.conn.Close()
	s.forget(p)
	if isHangUp(err) || ctx.Err() != nil {
		p.log.Debug("peer has disconnected")
	} else {
		p.log.Warn("peer was disconnected", "error", err)
	}
	if authenticated {
		s.opts.Disconnected(p.caller())
	}
}

// isHangUp reports whether a connection ended because the peer closed it or died.
func isHangUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE)
}

func (s *Server) handshake(p *peer) error {
	if err := p.conn.SetDeadline(time.Now().Add(s.opts.HandshakeTimeout)); err != nil {
		return err
	}
	lender := &borrower{conn: p.conn}
	p.in.Reset(lender)
	err := acceptAuth(p.in, p.conn, p.cred.UID, s.guid)
	s.mu.Lock()
	p.lent = lender.lent
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return p.conn.SetDeadline(time.Time{})
}

// forget gives up all that a connection had: its names, and the calls it will
// neither answer nor get answered.
func (s *Server) forget(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peers, p.id)
	closeAll(p.lent)
	p.lent = nil
	s.releaseNames(p)
	for id := range p.unanswered {
		if caller := s.peers[id.caller]; caller != nil {
			caller.outstanding--
			s.answer(caller, id.serial, reply{sender: BusName, err: Errorf(ErrorNoReply, "%s has disconnected without an answer", p.unique())})
		}
	}
	for _, other := range s.peers {
		for id := range other.unanswered {
			if id.caller == p.id {
				delete(other.unanswered, id)
			}
		}
	}
}
