package rest

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gosssd/confdb"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/secrets"
	"gosssd/secrets/vault"
)

// sections are the options of a test's sssd.conf.
type sections map[string]map[string]string

func snapshot(t testing.TB, values sections) *confdb.Snapshot {
	t.Helper()
	conf, err := confdb.NewSnapshot(confdb.Schema(secrets.Descriptor().Sections), values)
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// testServer is a service that listens on a real socket. Its clients have the
// uid of the field as.
type testServer struct {
	*service
	path   string
	root   string
	logged *safeBuffer

	mu sync.Mutex
	as uint32
}

// serve starts a service for the length of a test.
func serve(t testing.TB, conf sections) *testServer {
	t.Helper()
	return serveAt(t, t.TempDir(), conf, vault.Open)
}

func serveAt(t testing.TB, root string, conf sections, open func(string, vault.Options) (*vault.Vault, error)) *testServer {
	t.Helper()
	s := &testServer{path: filepath.Join(shortDir(t), "s"), root: root, logged: &safeBuffer{}, as: 1000}
	handler, err := New(open)(&responder.Service{
		Descriptor: secrets.Descriptor(),
		Root:       responder.Root(root),
		Conf:       snapshot(t, conf),
		Log:        log.To(s.logged, log.Mask(9)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.service = handler.(*service)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { s.accept(ctx, l, &serving) })
	t.Cleanup(func() {
		l.Close()
		cancel()
		serving.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *testServer) accept(ctx context.Context, l *net.UnixListener, serving *sync.WaitGroup) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		s.mu.Lock()
		c := &session{socket: conn, peer: responder.Peer{UID: s.as, PID: 1}, log: s.log, gone: make(chan struct{})}
		s.mu.Unlock()
		serving.Go(func() { s.serve(ctx, c) })
	}
}

// setPeer makes uid the peer of the connections to come.
func (s *testServer) setPeer(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.as = uid
}

// shortDir is a directory whose name fits a socket's address.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// call is one request of a test.
type call struct {
	as           uint32
	method, path string
	header       http.Header
	body         []byte
}

type response struct {
	status int
	header http.Header
	body   string
}

// do sends a request on a connection of its own.
func (s *testServer) do(t testing.TB, c call) response {
	t.Helper()
	s.setPeer(c.as)
	transport := &http.Transport{DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", s.path)
	}}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequest(c.method, "http://localhost"+c.path, bytes.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, c.header)
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{answer.StatusCode, answer.Header, string(body)}
}

// ask is do in the short form "METHOD path body", as uid 1000, in JSON; a body
// that is not JSON is sent as it is, in octets.
func (s *testServer) ask(t testing.TB, request string) response {
	t.Helper()
	parts := append(strings.SplitN(request, " ", 3), "")
	form := octetType
	if parts[2] == "" || strings.HasPrefix(parts[2], "{") {
		form = jsonType
	}
	return s.do(t, call{as: 1000, method: parts[0], path: parts[1], body: []byte(parts[2]), header: http.Header{"Content-Type": {form}}})
}

// expect fails the test unless a request is answered with a status.
func (s *testServer) expect(t testing.TB, status int, request string) response {
	t.Helper()
	r := s.ask(t, request)
	if r.status != status {
		t.Errorf("%.80s: answered %d, want %d", request, r.status, status)
	}
	return r
}

func secretJSON(value string) string { return `{"type":"simple","value":"` + value + `"}` }
