package kcm

import (
	"context"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/responder"
	"gosssd/responder/log"
)

// session is one client's connection, and the request it has at the moment.
type session struct {
	server *Server
	peer   responder.Peer
	log    *log.Logger
	logged about
	own    *collection // of the client's uid

	supersede bool // whether a new cache may take the room of an earlier login's

	op   *operation
	in   protocol.Reader // parameters that are not read yet
	name []byte          // the cache that the request names; for the log
	out  []byte          // the reply
	tail []entry         // credentials that follow it, each behind its length
}

func newSession(s *Server, peer responder.Peer, logger *log.Logger) *session {
	return &session{server: s, peer: peer, log: logger, logged: about{program: peer.Program()}, own: s.users.of(peer.UID)}
}

// serve answers requests until the client is gone or is to be dropped.
func (s *session) serve(ctx context.Context, conn stream) {
	requests := frames{from: conn}
	for {
		body, err := requests.next()
		if err == nil {
			err = s.answer(ctx, body)
		}
		if err == nil {
			err = s.send(conn)
		}
		if err != nil {
			s.dropped(err)
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
	s.server.requests.Add(1)
	s.op = operationOf(request.Op)
	s.in = protocol.NewReader(request.Params)
	s.name, s.tail = nil, nil
	s.out = protocol.BeginReply(s.out[:0])
	began := s.came(request)
	defer s.forgetSubject()
	err = s.op.run(ctx, s)
	if err == nil && len(s.out) > protocol.MaxReply {
		err = errReplyTooLong
	}
	if err != nil {
		reply, gravity := verdict(s.op, err)
		s.report(request.Op, err, reply, gravity, began)
		s.out, s.tail = protocol.AppendReply(s.out[:0], reply), nil
		return nil
	}
	protocol.EndReply(s.out, 0, tailSize(s.tail))
	s.served(request.Op, began)
	return nil
}

func (s *session) send(conn stream) error {
	if err := conn.SetWriteDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	var err error
	if s.tail == nil {
		_, err = conn.Write(s.out)
	} else {
		err = s.sendWithTail(conn)
	}
	if cap(s.out) > keptBuffer {
		s.out = nil
	}
	return err
}
