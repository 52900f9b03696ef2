package rest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"gosssd/responder"
	"gosssd/secrets/records"
)

// Every change of a credential cache passes here, and net/http takes longer
// over one than the disk does. So the few requests that sssd_kcm sends are read
// and answered by hand. Anything in a request that sssd_kcm would not send
// leaves the connection to net/http, from that request on.

// usualRequest is what a connection has room for at first, keptRequest what it
// keeps after a larger request.
const (
	usualRequest = 8 << 10
	keptRequest  = 64 << 10
)

// errNotOurs is returned for what net/http is to read.
var errNotOurs = errors.New("not a request of sssd_kcm")

// inbox cuts requests off what a client sends.
type inbox struct {
	from       socket
	buf        []byte // from begin to end: read and not yet used
	begin, end int
	hurry      responder.Hurry
}

// request is one request of sssd_kcm.
type request struct {
	method string
	path   string
	fence  string
	body   []byte
}

// serveRecords answers requests for records until there is another one; what
// was read of that is returned. An error means that the client is gone.
func (s *service) serveRecords(c *session) (rest []byte, err error) {
	in := &inbox{from: c.socket, buf: make([]byte, usualRequest)}
	var out []byte
	for {
		limit := s.local.with(s.settings.Load().kcm).batchLimit()
		r, err := in.next(limit)
		if errors.Is(err, errNotOurs) {
			return in.buf[in.begin:in.end], c.socket.SetDeadline(time.Time{})
		}
		if err != nil {
			return nil, err
		}
		out = s.answerRecords(out[:0], c, r)
		clear(r.body)
		if err := c.socket.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
			return nil, err
		}
		_, err = c.socket.Write(out)
		clear(out)
		if err != nil {
			return nil, err
		}
		if cap(out) > keptRequest {
			out = nil
		}
	}
}

// answerRecords appends the whole answer to a request.
func (s *service) answerRecords(out []byte, c *session, r *request) []byte {
	s.requests.Add(1)
	if c.log.On(hclog.Debug) {
		c.log.Debug("request", "method", r.method, "uid", c.peer.UID, "length", len(r.body))
	}
	body, err := s.runRecords(r)
	if err == nil && r.method == http.MethodGet {
		out = appendAnswer(out, http.StatusOK, records.MediaType, body)
		clear(body)
		return out
	}
	status, text := statusOf(err)
	if err != nil {
		s.note(c, r.method, status, err)
	}
	return appendAnswer(out, status, "text/plain; charset=utf-8", []byte(text))
}

func (s *service) runRecords(r *request) ([]byte, error) {
	user, _ := strings.CutPrefix(r.path, recordsPath)
	at := place{hive: kcmHive, every: true, dir: true}
	if user != "" {
		var err error
		if at, err = belowUser(place{hive: kcmHive}, user); err != nil {
			return nil, err
		}
	}
	v, err := s.local.vault.get()
	if err != nil {
		return nil, err
	}
	// A client that hangs up must not take back a change that was begun.
	ctx := context.Background()
	if r.method == http.MethodGet {
		return s.local.recordsOf(ctx, v.Hive(at.hive), at, r.fence)
	}
	return nil, s.local.with(s.settings.Load().kcm).change(ctx, v.Hive(at.hive), at, r.body, r.fence)
}

func appendAnswer(out []byte, status int, contentType string, body []byte) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	out = append(out, http.StatusText(status)...)
	out = append(out, "\r\nContent-Type: "...)
	out = append(out, contentType...)
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(body)), 10)
	out = append(out, "\r\n\r\n"...)
	return append(out, body...)
}

// next returns the next request; its body is good until the next call.
func (in *inbox) next(limit int64) (*request, error) {
	head, err := in.head()
	if err != nil {
		return nil, err
	}
	r, length, err := parseHead(string(head))
	if err != nil || length > limit {
		return nil, errNotOurs // which will be refused in due form
	}
	from, size := len(head), len(head)+int(length)
	for in.end-in.begin < size {
		if err := in.more(size); err != nil {
			return nil, err
		}
	}
	r.body = in.buf[in.begin+from : in.begin+size]
	in.begin += size
	return r, in.hurry.Set(in.from, false, requestTimeout)
}

// The beginnings of the requests that are read here.
var beginnings = []string{"PATCH " + recordsPath, "GET " + recordsPath}

const recordsPath = "/kcm/persistent/"

// head waits for a whole head and returns it with the empty line.
func (in *inbox) head() ([]byte, error) {
	for {
		have := in.buf[in.begin:in.end]
		if len(have) > 0 && !couldBegin(string(have[:min(len(have), 32)])) {
			return nil, errNotOurs
		}
		if i := bytes.Index(have, []byte("\r\n\r\n")); i >= 0 {
			return have[:i+4], nil
		}
		if len(have) >= usualRequest {
			return nil, errNotOurs
		}
		if err := in.more(usualRequest); err != nil {
			return nil, err
		}
	}
}

func couldBegin(have string) bool {
	for _, b := range beginnings {
		n := min(len(have), len(b))
		if have[:n] == b[:n] {
			return true
		}
	}
	return false
}

// more reads on, with room for a request of a size.
func (in *inbox) more(size int) error {
	have := in.buf[in.begin:in.end]
	switch {
	case len(have) == 0 && len(in.buf) > keptRequest:
		in.buf = make([]byte, usualRequest)
	case len(have) == len(in.buf):
		// It doubles with what has come instead of following what a head announces.
		grown := make([]byte, min(2*len(in.buf), size))
		copy(grown, have)
		clear(have)
		in.buf = grown
	default:
		copy(in.buf, have)
	}
	in.begin, in.end = 0, len(have)
	if err := in.hurry.Set(in.from, len(have) > 0, requestTimeout); err != nil {
		return err
	}
	n, err := in.from.Read(in.buf[in.end:])
	in.end += n
	if n > 0 {
		return nil
	}
	return err
}

// parseHead reads the head of a request in the form that sssd_kcm sends.
func parseHead(head string) (r *request, length int64, err error) {
	line, fields, _ := strings.Cut(head, "\r\n")
	parts := strings.Split(line, " ")
	if len(parts) != 3 || parts[2] != "HTTP/1.1" || strings.ContainsAny(parts[1], "?#%") {
		return nil, 0, errNotOurs
	}
	r = &request{method: parts[0], path: parts[1]}
	asked, sent := false, false
	for field := range strings.SplitSeq(strings.TrimSuffix(fields, "\r\n\r\n"), "\r\n") {
		switch name, value, _ := strings.Cut(field, ": "); name {
		case "Host":
		case "Accept":
			asked = value == records.MediaType
		case records.Fence:
			r.fence = value
		case "Content-Type":
			sent = value == records.MediaType
		case "Content-Length":
			n, err := strconv.ParseUint(value, 10, 62)
			if err != nil {
				return nil, 0, errNotOurs
			}
			length = int64(n)
		default:
			return nil, 0, errNotOurs
		}
	}
	user, _ := strings.CutPrefix(r.path, recordsPath)
	known := r.method == http.MethodGet && asked && length == 0 && (user == "" || isUser(user)) ||
		r.method == http.MethodPatch && sent && isUser(user)
	if !known {
		return nil, 0, errNotOurs
	}
	return r, length, nil
}

// isUser reports whether a path is that of a user's own records: "1000/".
func isUser(path string) bool {
	digits, found := strings.CutSuffix(path, "/")
	_, err := strconv.ParseUint(digits, 10, 32)
	return found && err == nil
}
