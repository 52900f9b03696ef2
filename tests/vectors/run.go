package vectors

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// Users are the names that cases give to users, besides root.
var Users = []string{"one", "two"}

// Server is what a case runs against.
type Server struct {
	Peer string // whose replies are expected, as in "<heimdal"; "" for this project's
	UIDs map[string]uint32
	Now  func() time.Time
	// Dial connects as a user.
	Dial func(user string) (net.Conn, error)
}

var errStopped = errors.New("the rest does not apply to this server")

// Run runs the case and returns the first reply that is not as expected.
func (c Case) Run(s Server) error {
	r := &run{
		server: s, conns: map[string]*client.Client{},
		values: values{uids: s.UIDs, now: s.Now(), creds: c.creds, captured: map[string][]byte{}},
	}
	defer r.close()
	for _, step := range c.steps {
		ends, err := r.step(c, step)
		if ends && err == nil || errors.Is(err, errStopped) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", c.File, step.line, err)
		}
	}
	return nil
}

type run struct {
	values
	server Server
	user   string
	conns  map[string]*client.Client
}

func (r *run) close() {
	for _, conn := range r.conns {
		_ = conn.Close()
	}
}

// step runs one line and reports whether the case ends with it for this server.
func (r *run) step(c Case, s step) (ends bool, err error) {
	switch {
	case s.user != "":
		r.user = s.user
		return false, nil
	case s.fill != nil:
		return false, r.fill(s.fill)
	}
	expected, ends := c.expected(s, r.server.Peer)
	return ends, r.exchange(s.request, expected.words)
}

// exchange sends one request and checks its reply.
func (r *run) exchange(request, expected []string) error {
	conn, err := r.conn()
	if err != nil {
		return fmt.Errorf("connecting as %s: %w", r.user, err)
	}
	frame, err := r.frame(request)
	if err != nil {
		return err
	}
	reply, err := conn.Exchange(frame)
	if err := r.check(reply, err, expected); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(request, " "), err)
	}
	return nil
}

func (r *run) conn() (*client.Client, error) {
	conn := r.conns[r.user]
	if conn == nil {
		user := r.user
		conn = client.Over(func() (io.ReadWriteCloser, error) { return r.server.Dial(user) }, patience)
		if err := conn.Connect(); err != nil {
			return nil, err
		}
		r.conns[user] = conn
	}
	return conn, nil
}

// fill makes a cache in the way that every server knows: INITIALIZE, and a
// STORE for each credential.
func (r *run) fill(items []string) error {
	name, principal, list := items[0], items[1], strings.TrimPrefix(items[2], "creds:")
	err := r.exchange([]string{"INITIALIZE", name, principal}, []string{"ok"})
	for cred := range strings.SplitSeq(list, ",") {
		if err == nil {
			err = r.exchange([]string{"STORE", name, "cred:" + cred}, []string{"ok"})
		}
	}
	return err
}

// frame builds a request; "raw" and hexadecimal digits are sent as they are.
func (r *run) frame(words []string) ([]byte, error) {
	if words[0] == "raw" {
		return hex.DecodeString(strings.Join(words[1:], ""))
	}
	op, known := protocol.OpByName(words[0])
	if !known {
		return nil, fmt.Errorf("no operation %s", words[0])
	}
	var params []byte
	for _, item := range words[1:] {
		var err error
		if params, err = r.encode(params, item); err != nil {
			return nil, err
		}
	}
	return protocol.AppendRequest(nil, protocol.Request{Op: op, Params: params}), nil
}

// patience is how long a server may take for a reply.
const patience = time.Minute

func (r *run) check(reply protocol.Reply, err error, expected []string) error {
	if len(expected) == 0 {
		return errors.New("no reply is expected")
	}
	switch verdict := expected[0]; {
	case verdict == "any":
		return nil
	case verdict == "stop":
		return errStopped
	case verdict == "closed":
		_ = r.conns[r.user].Close()
		delete(r.conns, r.user)
		if err == nil || errors.Is(err, protocol.ErrMalformed) {
			return fmt.Errorf("expected the connection to be closed, got outer %v, inner %v", reply.Outer, reply.Inner)
		}
		return nil
	case err != nil && errors.Is(err, io.EOF):
		return fmt.Errorf("the connection is closed, expected %s", strings.Join(expected, " "))
	case err != nil:
		return err
	case verdict == "outer" && len(expected) == 2:
		return r.sameCode(expected[1], "outer", reply)
	case verdict == "inner" && len(expected) == 2:
		return r.sameCode(expected[1], "inner", reply)
	case verdict == "ok":
		if reply.Outer != 0 || reply.Inner != 0 {
			return fmt.Errorf("outer %v, inner %v, expected success", reply.Outer, reply.Inner)
		}
		return r.match(reply.Results, expected[1:])
	}
	return fmt.Errorf("expectation %q is not known", strings.Join(expected, " "))
}

func (r *run) sameCode(want, where string, reply protocol.Reply) error {
	code, known := protocol.CodeByName(want)
	if !known {
		return fmt.Errorf("no code %s", want)
	}
	inner, outer := reply.Outer == 0 && reply.Inner == code, reply.Outer == code
	if where == "inner" && inner || where == "outer" && outer {
		return nil
	}
	return fmt.Errorf("outer %v, inner %v, expected %s %s", reply.Outer, reply.Inner, where, want)
}
