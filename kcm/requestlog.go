package kcm

import (
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"gosssd/kcm/protocol"
	"gosssd/responder"
	"gosssd/responder/log"
)

// logContext is what lines about a client's requests say besides the request.
type logContext struct {
	program string // what the client calls itself
	owners  map[uint32]struct{}

	// Of the present request: whose tickets it is about.
	principal []byte // the client names it
	cache     *cache // or the cache has it
}

// forgetSubject is called when a request has been answered.
func (s *session) forgetSubject() { s.about.principal, s.about.cache = nil, nil }

// line returns the pairs that every line about a request begins with.
func (s *session) line(op protocol.Op, more ...any) []any {
	pairs := []any{"op", op, "uid", s.peer.UID, "pid", s.peer.PID, "program", s.about.program}
	if s.name != nil {
		pairs = append(pairs, "cache", string(s.name))
	}
	principal := s.about.principal
	if principal == nil && s.about.cache != nil {
		principal = s.about.cache.principal
	}
	if principal != nil {
		r := protocol.NewReader(principal)
		pairs = append(pairs, "principal", r.Principal())
	}
	return append(pairs, more...)
}

// audit logs that root reaches for another user's caches, once for each of
// them and connection: a service that does so all day is no news.
func (s *session) audit(owner *collection) {
	if owner.uid == s.peer.UID {
		return
	}
	if _, told := s.about.owners[owner.uid]; told {
		return
	}
	if s.about.owners == nil {
		s.about.owners = map[uint32]struct{}{}
	}
	s.about.owners[owner.uid] = struct{}{}
	s.server.foreign.Add(1)
	if s.log.On(hclog.Info) {
		s.log.Info("access to another user's cache", s.line(s.op.op, "owner", log.Cause(strconv.FormatUint(uint64(owner.uid), 10)))...)
	}
}

// tellObtained tells which process the server has got a ticket for.
func (s *session) tellObtained(owner *collection, c *cache, cred *credential) {
	if s.log.On(hclog.Info) {
		s.log.Info("a ticket is got", s.line(s.op.op, "service", cred.Server, "until", time.Unix(c.ends(cred), 0).Format(time.RFC3339))...)
	}
	name, principal := c.texts()
	service := strings.ToValidUTF8(cred.Server.String(), "\uFFFD")
	s.server.users.signal(obtainedSignal, owner.uid, name, principal, service, s.peer.UID, s.peer.PID, strings.ToValidUTF8(s.about.program, "\uFFFD"))
}

// logNotObtained logs why a ticket could not be got. That a KDC does not know a
// service is everyday life, where browsers try one for each host.
func (s *session) logNotObtained(level hclog.Level, service protocol.Principal, err error) {
	if s.log.On(level) {
		s.log.Log(level, "a ticket is not got", s.line(s.op.op, "service", service, "reason", err)...)
	}
}

// logServed logs a request that was.
func (s *session) logServed(op protocol.Op, began time.Time) {
	if !s.log.On(hclog.Debug) {
		return
	}
	pairs := s.line(op, "bytes", len(s.out)+tailSize(s.tail)+len(s.last))
	if s.about.cache != nil {
		pairs = append(pairs, "credentials", len(s.about.cache.entries))
	}
	s.log.Debug("request served", appendDuration(pairs, began)...)
}

// logUnserved logs a request that was not served.
func (s *session) logUnserved(op protocol.Op, err error, reply protocol.Reply, g severity, began time.Time) {
	code := reply.Inner
	if reply.Outer != 0 {
		code = reply.Outer
	}
	level, what := hclog.Debug, "request answered with a code"
	switch g {
	case refused:
		level, what = hclog.Warn, "request refused"
	case failed:
		level, what = hclog.Error, "request failed"
	}
	if s.log.On(level) {
		s.log.Log(level, what, appendDuration(s.line(op, "code", log.Cause(code.String()), "reason", err), began)...)
	}
}

// appendDuration appends how long a request took, where that was measured.
func appendDuration(pairs []any, began time.Time) []any {
	if began.IsZero() {
		return pairs
	}
	return append(pairs, "took", time.Since(began))
}

// logDropped logs why a connection ends, where that is not the client's own way,
// and which request it had sent, or begun to.
func (s *session) logDropped(op string, err error) {
	pairs := []any{"op", op, "uid", s.peer.UID, "pid", s.peer.PID, "program", s.about.program, "code", log.Cause("closed"), "reason", err}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	case errors.Is(err, responder.ErrBudget), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, protocol.ErrVersion), errors.Is(err, protocol.ErrTooLong):
		s.server.dropped.Add(1)
		s.log.Warn("client dropped", pairs...)
	default:
		s.log.Debug("client gone", pairs...)
	}
}
