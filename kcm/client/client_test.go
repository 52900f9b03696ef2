package client

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// server is one end of a connection that answers by a script.
func server(t *testing.T, answer func(conn net.Conn, round int)) *Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for round := 0; ; round++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			answer(conn, round)
			conn.Close()
		}
	}()
	c := New(socket, time.Minute)
	t.Cleanup(func() {
		_ = c.Close()
		l.Close()
		<-ended
	})
	return c
}

// next reads one request.
func next(conn net.Conn) (protocol.Request, error) {
	var in []byte
	for chunk := make([]byte, 3); ; {
		if body, _, err := protocol.CutRequest(in); err != nil || body != nil {
			request, err := protocol.ParseRequest(body)
			return request, err
		}
		n, err := conn.Read(chunk)
		if err != nil {
			return protocol.Request{}, err
		}
		in = append(in, chunk[:n]...)
	}
}

func reply(r protocol.Reply) []byte { return protocol.AppendReply(nil, r) }

func TestACallReturnsTheResults(t *testing.T) {
	results := bytes.Repeat([]byte("results"), 3000)
	c := server(t, func(conn net.Conn, _ int) {
		request, err := next(conn)
		if err != nil || request.Op != protocol.OpGetPrincipal || string(request.Params) != "one\x00two\x00" {
			t.Errorf("the server gets %v %q, %v", request.Op, request.Params, err)
		}
		for part := range slices.Chunk(reply(protocol.Reply{Results: results}), 1000) { // as they may arrive
			_, _ = conn.Write(part)
		}
	})
	got, err := c.Call(protocol.OpGetPrincipal, protocol.AppendName(nil, "one"), protocol.AppendName(nil, "two"))
	if err != nil || !bytes.Equal(got, results) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestErrorsOfTheServerAreToldWithTheirCode(t *testing.T) {
	for name, answer := range map[string]protocol.Reply{
		"inner": {Inner: protocol.NoFile},
		"outer": {Outer: protocol.NoFile},
	} {
		c := server(t, func(conn net.Conn, _ int) {
			if _, err := next(conn); err == nil {
				_, _ = conn.Write(reply(answer))
			}
		})
		_, err := c.Call(protocol.OpStore)
		told, ok := errors.AsType[*Error](err)
		if !ok || *told != (Error{protocol.OpStore, protocol.NoFile, name == "outer"}) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRepliesThatArriveTogetherAreToldApart(t *testing.T) {
	c := server(t, func(conn net.Conn, _ int) {
		_, _ = next(conn)
		_, _ = conn.Write(append(reply(protocol.Reply{Results: []byte("first")}), reply(protocol.Reply{Results: []byte("second")})...))
		_, _ = next(conn) // until the client is done
	})
	for _, want := range []string{"first", "second"} {
		if want == "first" {
			if err := c.Send(protocol.OpNoop); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := c.Results(protocol.OpNoop); err != nil || string(got) != want {
			t.Errorf("%q, %v, expected %q", got, err, want)
		}
	}
}

func TestARequestThatMeetsEPIPEIsSentOnceMore(t *testing.T) {
	drained := make(chan struct{})
	c := server(t, func(conn net.Conn, round int) {
		if _, err := next(conn); err != nil {
			t.Error(err)
		}
		_, _ = conn.Write(reply(protocol.Reply{Results: []byte{byte(round)}}))
		if round == 0 { // as a server that is being replaced
			_ = conn.(*net.UnixConn).CloseRead()
			close(drained)
		}
	})
	for round := range 2 {
		got, err := c.Call(protocol.OpNoop)
		if err != nil || got[0] != byte(round) {
			t.Errorf("%v, %v", got, err)
		}
		<-drained
	}
	if c.Reconnects != 1 {
		t.Errorf("%d reconnects, expected 1", c.Reconnects)
	}
}

func TestTheEndOfTheConnectionIsAnError(t *testing.T) {
	for want, part := range map[error]int{io.EOF: 0, io.ErrUnexpectedEOF: 6} {
		c := server(t, func(conn net.Conn, _ int) {
			_, _ = next(conn)
			_, _ = conn.Write(reply(protocol.Reply{Results: []byte("results")})[:part])
		})
		if _, err := c.Call(protocol.OpNoop); !errors.Is(err, want) {
			t.Errorf("after %d bytes: %v, expected %v", part, err, want)
		}
	}
}
