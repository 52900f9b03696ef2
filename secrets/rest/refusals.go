package rest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/secrets/records"
)

// begin notes which request is served from now on.
func (c *session) begin(op string) {
	c.op, c.about = op, target{}
	c.unheard.Store(false)
}

// line returns the pairs of a line about the present request. Names and values
// of secrets are left out.
func (c *session) line(code string, reason error) []any {
	pairs := []any{"op", c.op, "uid", c.peer.UID, "pid", c.peer.PID, "program", c.peer.Program()}
	if c.about.hive != "" {
		pairs = append(pairs, "hive", c.about.hive, "owner", log.Cause(strconv.FormatUint(uint64(c.about.uid), 10)))
	}
	return append(pairs, "code", log.Cause(code), "reason", reason)
}

// note logs what was not answered with success.
func (s *service) note(c *session, status int, err error) {
	level, what := hclog.Warn, "request refused"
	switch resultOf(c.op, status, err) {
	case resultCode:
		level, what = hclog.Debug, "request answered with a code"
	case resultFailed:
		level, what = hclog.Error, "request failed"
	}
	if c.log.On(level) {
		c.log.Log(level, what, c.line(strconv.Itoa(status), err)...)
	}
}

// isOrdinary reports whether an error is part of a client's way: a secret that
// is asked for or deleted and not there, and what sssd_kcm loads anew.
func isOrdinary(op string, status int, err error) bool {
	switch status {
	case http.StatusNotFound:
		return op == http.MethodGet || op == http.MethodDelete
	case http.StatusPreconditionFailed:
		return errors.Is(err, errStale)
	}
	return false
}

// noteClosed counts and logs that a connection ends with a request that was not
// answered, unless its client has gone.
func (s *service) noteClosed(c *session, err error) {
	switch {
	case errors.Is(err, responder.ErrBudget), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, records.ErrTooLong), errors.Is(err, records.ErrMalformed):
		s.dropped.Add(1)
		c.log.Warn("client dropped", c.line("closed", err)...)
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
	default:
		c.log.Debug("client gone", c.line("closed", err)...)
	}
}

// errHead says that net/http has answered without asking the service.
var errHead = errors.New("the head of the request was not understood, or is too long")

// Write sends to the client. What net/http answers to a request that it does not
// hand on is a refusal, too.
func (c *session) Write(p []byte) (int, error) {
	const version = "HTTP/1.1 "
	if code := len(version) + 3; c.unheard.Load() && len(p) >= code && bytes.HasPrefix(p, []byte(version)) {
		c.unheard.Store(false)
		c.op, c.about = "unknown", target{}
		if status, err := strconv.Atoi(string(p[len(version):code])); err == nil && c.service != nil {
			c.service.note(c, status, errHead)
			c.service.answered.add(opOther, resultOf(c.op, status, errHead), 0)
		}
	}
	return c.socket.Write(p)
}
