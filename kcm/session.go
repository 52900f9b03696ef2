package kcm

import (
	"context"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/responder/log"
)

// session is one client's connection, and the request it has at the moment.
type session struct {
	server *Server
	peer   responder.Peer
	log    *log.Logger
	about  logContext
	own    *collection // of the client's uid

	process      func() (*linux.Process, error) // holds the client; nil: it is not known
	at           place                          // where that is
	askedDefault bool                           // whether the default cache was to be bound on this connection

	supersede bool // whether a new cache may take the room of an earlier login's

	op   *operation
	did  severity        // what became of the request
	in   protocol.Reader // parameters that are not read yet
	name []byte          // the cache that the request names; for the log
	out  []byte          // the reply
	kept []byte          // what a connection keeps for replies, while out is a larger one
	tail []entry         // credentials that follow it, each behind its length
	last []byte          // what follows all that
	pins int64           // bytes that tail and last keep in memory
}

// usualReply is how many bytes a connection keeps for replies. A larger one
// takes its memory from the budget until the client has taken it.
const usualReply = 4 << 10

func newSession(s *Server, peer responder.Peer, logger *log.Logger) *session {
	return &session{server: s, peer: peer, log: logger, about: logContext{program: peer.Program()}, own: s.users.of(peer.UID)}
}

// serve answers requests until the client is gone or is to be dropped.
func (s *session) serve(ctx context.Context, conn stream) {
	memory := s.server.memory.Open(s.peer.UID, func() { _ = conn.Close() })
	defer memory.Close()
	requests := frames{from: conn, memory: memory}
	for {
		body, err := requests.next()
		began := conn.Active() // the request has come, or the reply before it has gone, just now
		if err == nil {
			err = s.answer(ctx, body)
			s.in, s.name = protocol.Reader{}, nil
			requests.done()
		}
		if err == nil {
			err = s.send(conn, memory)
			s.forgetReply()
			s.count(conn.Active() - began)
		}
		if err != nil {
			if memory.Dropped() {
				err = responder.ErrBudget
			}
			s.logDropped(requests.op, err)
			return
		}
	}
}

// answer runs one request and leaves the reply in out. An error means that
// the client does not speak the protocol.
func (s *session) answer(ctx context.Context, body []byte) error {
	request, err := protocol.ParseRequest(body)
	if err != nil {
		return err
	}
	s.op, s.did = operationOf(request.Op), served
	s.in = protocol.NewReader(request.Params)
	s.name = nil
	s.forgetReply()
	s.out = protocol.BeginReply(s.out[:0])
	began := s.logRequest(request)
	defer s.forgetSubject()
	err = s.op.run(ctx, s)
	if err == nil && len(s.out) > protocol.MaxReply {
		err = errReplyTooLong
	}
	if err != nil {
		reply, severity := replyFor(s.op, err)
		s.did = severity
		s.logUnserved(request.Op, err, reply, severity, began)
		s.forgetReply()
		s.out = protocol.AppendReply(s.out[:0], reply)
		return nil
	}
	protocol.EndReply(s.out, 0, tailSize(s.tail)+len(s.last))
	s.logServed(request.Op, began)
	return nil
}

func (s *session) send(conn stream, memory *responder.Holding) error {
	if size := int64(cap(s.out)) + s.pins; size > usualReply {
		if err := memory.Take(size, replyTimeout); err != nil {
			return err
		}
		defer memory.Free()
	}
	if err := conn.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	if s.tail != nil || s.last != nil {
		return s.sendWithTail(conn)
	}
	_, err := conn.Write(s.out)
	return err
}

// room makes room for n bytes more in the reply.
func (s *session) room(n int) {
	size := len(s.out) + n
	switch {
	case size <= cap(s.out):
	case size <= usualReply:
		s.out = append(make([]byte, 0, usualReply), s.out...)
	default:
		s.kept = s.out
		s.out = append(s.server.replies.get(size), s.out...)
	}
}

// forgetReply leaves nothing of the last reply in memory.
func (s *session) forgetReply() {
	clear(s.out)
	if cap(s.out) > usualReply {
		s.server.replies.put(s.out)
		s.out = s.kept
	}
	s.out, s.kept, s.tail, s.last, s.pins = s.out[:0], nil, nil, nil, 0
}
