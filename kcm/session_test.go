package kcm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

func request(op protocol.Op, params ...[]byte) []byte {
	return protocol.AppendRequest(nil, protocol.Request{Op: op, Params: bytes.Join(params, nil)})
}

func TestRequestsComeInAnyFragments(t *testing.T) {
	r := newRig(t, nil)
	stream := bytes.Join([][]byte{
		request(protocol.OpInitialize, name("1000"), princ("alice@"+realm)),
		request(protocol.OpStore, name("1000"), service("alice", strings.Repeat("long", 3000))),
		request(protocol.OpNoop),
		request(protocol.OpStore, name("1000"), tgt("alice")),
		request(protocol.OpGetKDCOffset, name("1000")),
	}, nil)
	random := rand.New(rand.NewPCG(1, 2))
	for what, size := range map[string]func() int{
		"one byte at a time": func() int { return 1 },
		"random pieces":      func() int { return 1 + random.IntN(5000) },
		"all at once":        func() int { return len(stream) },
		"a length in halves": func() int { return 2 },
	} {
		t.Run(what, func(t *testing.T) {
			c := r.client(1000)
			go func() {
				for rest := stream; len(rest) > 0; {
					n := min(size(), len(rest))
					_, _ = c.conn.Write(rest[:n])
					rest = rest[n:]
				}
			}()
			for range 5 {
				if reply, err := c.receive(); err != nil || reply.Outer != 0 || reply.Inner != 0 {
					t.Fatalf("reply %+v, %v", reply, err)
				}
			}
		})
	}
}

func TestTheLargestRequest(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.must(protocol.OpInitialize, name("1000"), princ("alice@"+realm))
	cred := ticket("alice", "host/large@"+realm, 100)
	cred.Ticket = make([]byte, protocol.MaxFrame-4-5-len(raw(cred))+len(cred.Ticket))
	frame := request(protocol.OpStore, name("1000"), raw(cred))
	if len(frame) != 4+protocol.MaxFrame {
		t.Fatalf("the frame has %d bytes", len(frame))
	}
	c.must(protocol.OpStore, name("1000"), raw(cred))
	tag := credtagOf(raw(cred))
	if got := c.must(protocol.OpRetrieve, name("1000"), u32(0), tag); !bytes.Equal(got, raw(cred)) {
		t.Error("it comes back changed")
	}
	c.must(protocol.OpStore, name("1000"), tgt("alice"))
	c.notRun(protocol.NoSupport, protocol.OpGetCredList, name("1000"))
	if ids := c.must(protocol.OpGetCredUUIDList, name("1000")); len(ids) != 2*16 {
		t.Errorf("%d bytes of UUIDs", len(ids))
	}
}

func TestWhoDoesNotSpeakTheProtocolIsDropped(t *testing.T) {
	for what, sent := range map[string][]byte{
		"an empty request":       {0, 0, 0, 0},
		"a request of one byte":  {0, 0, 0, 1, 2},
		"another version":        {0, 0, 0, 4, 1, 0, 0, 1},
		"a frame beyond 10 MiB":  {0, 0xa0, 0, 1},
		"a greeting in HTTP":     []byte("GET / HTTP/1.0\r\n\r\n"),
		"the end within a frame": nil,
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, nil)
			c := r.client(1000)
			c.must(protocol.OpNoop)
			if sent == nil {
				_, _ = c.conn.Write([]byte{0, 0, 0, 9, 2})
				c.conn.Close()
				return
			}
			_, _ = c.conn.Write(sent)
			if _, err := c.receive(); !errors.Is(err, io.EOF) {
				t.Errorf("the connection ends with %v", err)
			}
			if got := r.logged.String(); !strings.Contains(got, "client dropped") {
				t.Errorf("log: %s", got)
			}
		})
	}
}

func TestMalformedParametersAreToldAndKeepTheConnection(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	whole := tgt("bob")
	for op, params := range map[protocol.Op][]byte{
		protocol.OpGetName: []byte("no end"), protocol.OpInitialize: append(name("1000"), 1, 2), protocol.OpStore: append(name("1000"), whole[:len(whole)-1]...),
		protocol.OpRetrieve: append(name("1000"), 0, 0, 0, 0, 0, 0), protocol.OpSetKDCOffset: append(name("1000"), 1), protocol.OpGetCacheByUUID: make([]byte, 15),
		protocol.OpReplace: append(append(append(name("1000"), u32(0)...), princ("bob@"+realm)...), 0, 0, 0, 2, 0, 0, 0, 0), protocol.OpMoveCache: name("1000"),
		protocol.OpChown: append(name("1000"), 0, 0, 0, 0), protocol.OpChmod: append(name("1000"), 1), protocol.OpRemoveCred: name("1000"), protocol.OpResolve: nil,
		protocol.OpSetDefaultCache: nil, protocol.OpDestroy: nil, protocol.OpSetFlags: name("1000"),
	} {
		c.notRun(protocol.BadFormat, op, params)
	}
	equal(t, "credentials", c.servers("1000"), []string{tgs})
	c.must(protocol.OpStore, name("1000"), service("alice", "host/a"), []byte("what follows a credential is ignored"))
	if got := c.must(protocol.OpRetrieve, name("1000"), u32(0), credtagOf(service("alice", "host/a"))); !bytes.Equal(got, service("alice", "host/a")) {
		t.Error("the credential was kept with what followed it")
	}
}

func TestAClientThatStallsInAFrameIsDropped(t *testing.T) {
	conn := &stalled{}
	f := frames{from: conn}
	if _, err := f.next(); !errors.Is(err, io.EOF) || conn.deadline {
		t.Errorf("before a frame: %v, deadline %v", err, conn.deadline)
	}
	conn.pieces = [][]byte{{0, 0, 0, 9}, {2}}
	if _, err := f.next(); !errors.Is(err, io.ErrUnexpectedEOF) || !conn.deadline {
		t.Errorf("within a frame: %v, deadline %v", err, conn.deadline)
	}
	f = frames{from: conn}
	conn.deadline, conn.pieces = false, [][]byte{{0, 0}, request(protocol.OpNoop)[2:]}
	if _, err := f.next(); err != nil || conn.deadline {
		t.Errorf("after a frame: %v, deadline %v", err, conn.deadline)
	}
}

// stalled is a stream of prepared pieces.
type stalled struct {
	stream
	pieces   [][]byte
	deadline bool
}

func (s *stalled) Read(p []byte) (int, error) {
	if len(s.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.pieces[0])
	s.pieces = s.pieces[1:]
	return n, nil
}

func (s *stalled) SetReadDeadline(t time.Time) error {
	s.deadline = !t.IsZero()
	return nil
}

func TestALyingLengthTakesNoMemory(t *testing.T) {
	conn := &stalled{pieces: [][]byte{{0, 0xa0, 0, 0}, make([]byte, 3000)}}
	f := frames{from: conn}
	if _, err := f.next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	if cap(f.buf) > 2*usualFrame {
		t.Errorf("%d bytes for 3 kB that came", cap(f.buf))
	}
}

func TestSignals(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	steps := []struct {
		do   func()
		want string
	}{
		{func() { c.must(protocol.OpSetDefaultCache, name("1000:n")) }, "CacheCreated 1000 1000:n"},
		{func() { c.must(protocol.OpInitialize, name("1000:n"), princ("alice@R")) }, "CacheChanged 1000 1000:n alice@R"},
		{func() { c.must(protocol.OpStore, name("1000:n"), tgt("alice")) }, "CacheChanged 1000 1000:n alice@R"},
		{func() { c.must(protocol.OpSetKDCOffset, name("1000:n"), u32(1)) }, ""},
		{func() { c.login("1000:r", "bob") }, "CacheCreated 1000 1000:r bob@" + realm},
		{func() { c.login("1000:r", "eve") }, "CacheChanged 1000 1000:r eve@" + realm},
		{func() { c.must(protocol.OpMoveCache, name("1000:r"), name("1000:n")) }, "CacheDestroyed 1000 1000:r eve@" + realm + " CacheChanged 1000 1000:n eve@" + realm},
		{func() { c.must(protocol.OpDestroy, name("1000:n")) }, "CacheDestroyed 1000 1000:n eve@" + realm},
		{func() { c.login("1000:\xff", "bob") }, "CacheCreated 1000 1000:\uFFFD bob@" + realm},
	}
	for i, step := range steps {
		step.do()
		if got := r.signals.take(); got != step.want {
			t.Errorf("step %d signals %q, want %q", i, got, step.want)
		}
	}
}

func TestNewNamesAreNotGivenTwice(t *testing.T) {
	r := newRig(t, nil)
	c, other := r.client(1000), r.client(1000)
	seen := map[string]bool{}
	for range 200 {
		for _, who := range []*client{c, other} {
			n := string(who.must(protocol.OpGenNew))
			if seen[n] || !strings.HasPrefix(n, "1000:") {
				t.Fatalf("%q was given before, or is nobody's", n)
			}
			seen[n] = true
		}
	}
	equal(t, "caches", c.caches(), nil)
	last := r.server.users.of(1000).lastName
	taken := fmt.Sprintf("1000:%d", last+1)
	c.login(taken, "alice")
	if got := string(c.must(protocol.OpGenNew)); got == taken+"\x00" {
		t.Error("the name of a cache was given")
	}
}
