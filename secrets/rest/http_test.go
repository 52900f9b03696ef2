package rest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is not HTTP is refused as net/http refuses it, whoever sends it, and
// before anything of it is taken for a request: nothing stands in front of
// net/http that could read a request in another way. This is a plain server of
// it, which the service is compared with.
func plainServer(t testing.TB) (path string) {
	t.Helper()
	path = filepath.Join(shortDir(t), "plain")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{MaxHeaderBytes: maxHead, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return path
}

// firstStatus sends something, and returns the first status that is answered,
// and whether the answer is one of net/http's own, which are plain text.
func firstStatus(t *testing.T, path, sent string) (status int, own bool) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(conn, sent)
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, true // closed without an answer
	}
	defer answer.Body.Close()
	return answer.StatusCode, answer.Close && strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain")
}

// compare checks that both servers refuse something, or neither.
func compare(t *testing.T, s *testServer, plain, sent string) {
	t.Helper()
	want, refused := firstStatus(t, plain, sent)
	got, own := firstStatus(t, s.path, sent)
	if refused != own || refused && got != want {
		t.Errorf("%.200q: answered %d, by net/http itself %v; a plain server answers %d, itself %v", sent, got, own, want, refused)
	}
}

// malformed is what an HTTP server should not guess about (RFC 9112).
var malformed = map[string]string{
	"two lengths":                  "PUT /secrets/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
	"the same length twice":        "PUT /secrets/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
	"a length and chunks":          "PUT /secrets/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"two hosts":                    "GET /secrets/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
	"no host":                      "GET /secrets/ HTTP/1.1\r\n\r\n",
	"a control character in value": "GET /secrets/ HTTP/1.1\r\nHost: x\r\nX: a\x01b\r\n\r\n",
	"a NUL in a value":             "GET /secrets/ HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
	"a control character in path":  "GET /secrets/\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
	"a blank before a colon":       "GET /secrets/ HTTP/1.1\r\nHost : x\r\n\r\n",
	"a folded header":              "GET /secrets/ HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n",
	"lines that end in LF":         "GET /secrets/ HTTP/1.1\nHost: x\n\n",
	"a length with a sign":         "PUT /secrets/a HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\na",
	"a head that does not end":     "GET /secrets/ HTTP/1.1\r\nX: " + strings.Repeat("x", 2*maxHead),
	"another protocol":             "\x00\x00\x00\x00\x01",
	"records without an upgrade":   string(loadRequest(1, [16]byte{})),
	"two lengths of records": "PATCH /kcm/persistent/1/ HTTP/1.1\r\nHost: localhost\r\nAccept: application/vnd.gosssd.records\r\n" +
		"Content-Type: application/vnd.gosssd.records\r\nContent-Length: 1\r\nContent-Length: 0\r\n\r\n",
	"two hosts of an upgrade":       "GET /kcm/persistent/ HTTP/1.1\r\nHost: localhost\r\nHost: y\r\nConnection: Upgrade\r\nUpgrade: gosssd-records/1\r\n\r\n",
	"HTTP/1.0":                      "GET /secrets/ HTTP/1.0\r\n\r\n",
	"HTTP/2":                        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"a request that is well formed": "GET /secrets/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\r\n",
}

func TestMalformedRequestsAreRefusedAsNetHTTPDoes(t *testing.T) {
	s, plain := serve(t, nil), plainServer(t)
	for name, sent := range malformed {
		for _, uid := range []uint32{1000, 0} { // users, and whom the service trusts
			t.Run(name, func(t *testing.T) {
				s.setPeer(uid)
				compare(t, s, plain, sent)
			})
		}
	}
	for _, name := range []string{"two lengths", "two hosts", "a control character in value", "a control character in path", "two lengths of records"} {
		if status, own := firstStatus(t, s.path, malformed[name]); status != http.StatusBadRequest || !own {
			t.Errorf("%s: %d, by net/http itself %v", name, status, own)
		}
	}
}

// FuzzHTTP compares the service with a plain server of net/http.
func FuzzHTTP(f *testing.F) {
	s, plain := serve(f, nil), plainServer(f)
	s.setPeer(0)
	for _, sent := range malformed {
		f.Add(sent)
	}
	f.Fuzz(func(t *testing.T, sent string) { compare(t, s, plain, sent) })
}
