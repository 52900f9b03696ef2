package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gosssd/secrets/records"
)

var ctx = context.Background()

// fakeServer upgrades each connection with an implementation of HTTP, and
// answers each request with the next of its answers; an empty answer closes
// the connection.
type fakeServer struct {
	path     string
	conns    atomic.Int64
	requests atomic.Int64
	answers  chan string
}

func fake(t *testing.T, answers ...string) *fakeServer {
	t.Helper()
	s := &fakeServer{path: filepath.Join(shortDir(t), "s"), answers: make(chan string, 1000)}
	for _, answer := range answers {
		s.answers <- answer
	}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		close(s.answers) // ends those that have no answer
		l.Close()
		serving.Wait()
	})
	return s
}

// shortDir is a directory whose name fits a socket's address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (s *fakeServer) serve(conn net.Conn) {
	defer conn.Close()
	buffered := bufio.NewReader(conn)
	request, err := http.ReadRequest(buffered)
	if err != nil || request.Header.Get("Upgrade") != records.Protocol || request.URL.Path != "/kcm/persistent/" {
		return
	}
	if _, err := conn.Write([]byte(records.UpgradeAnswer)); err != nil {
		return
	}
	in := records.NewReader(buffered)
	for {
		if _, err := in.Next(1 << 30); err != nil {
			return
		}
		s.requests.Add(1)
		answer := <-s.answers
		if answer == "" {
			return
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			return
		}
	}
}

// done is an answer without records.
func done(status int, text string) string {
	return string(records.Result{Status: status, Text: text}.AppendTo(nil))
}

// some is a part of an answer.
func some(keys ...string) string {
	b := records.Begin(nil, records.Some)
	for _, key := range keys {
		b = records.Append(b, key, []byte("value of "+key))
	}
	records.End(b)
	return string(b)
}

// load returns the keys of the records of user 7, in the order in which they
// come.
func load(ctx context.Context, c *Client) (keys []string, err error) {
	err = c.Load(ctx, 7, func(key string, value []byte) error {
		if string(value) != "value of "+key {
			return fmt.Errorf("the value of %q is %q", key, value)
		}
		keys = append(keys, key)
		return nil
	})
	return keys, err
}

func TestAConnectionIsKept(t *testing.T) {
	s := fake(t, done(200, ""), some("a", "b")+some("c")+done(200, ""), some("7")+done(200, ""))
	c := New(s.path)
	defer c.Close()
	if err := c.Commit(ctx, 7, map[string][]byte{"a": []byte("1"), "b": nil}); err != nil {
		t.Fatal(err)
	}
	if keys, err := load(ctx, c); err != nil || fmt.Sprint(keys) != "[a b c]" {
		t.Errorf("records %v, %v", keys, err)
	}
	if owners, err := c.Owners(ctx); err != nil || fmt.Sprint(owners) != "[7]" {
		t.Errorf("owners %v, %v", owners, err)
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

func TestARequestIsSentAgainWhenTheServiceHadLeft(t *testing.T) {
	s := fake(t, done(200, ""), "", done(200, ""))
	c := New(s.path)
	defer c.Close()
	for range 2 {
		if err := c.Commit(ctx, 7, map[string][]byte{"a": []byte("1")}); err != nil {
			t.Fatal(err)
		}
	}
	if conns, requests := s.conns.Load(), s.requests.Load(); conns != 2 || requests != 3 {
		t.Errorf("%d connections, %d requests", conns, requests)
	}
}

func TestALoadIsRepeatedWhenRecordsChangedMeanwhile(t *testing.T) {
	changed := some("a") + done(409, "changed")
	s := fake(t, changed, changed, some("b")+done(200, ""), changed, changed, changed, changed, changed)
	c := New(s.path)
	defer c.Close()
	if keys, err := load(ctx, c); err != nil || fmt.Sprint(keys) != "[b]" {
		t.Errorf("records %v, %v", keys, err)
	}
	if keys, err := load(ctx, c); !errors.Is(err, errChanged) || keys != nil {
		t.Errorf("for ever: %v, %v", keys, err)
	}
}

func TestLoadEndsWithTheErrorOfItsCaller(t *testing.T) {
	s := fake(t, some("a", "b")+done(200, ""))
	c := New(s.path)
	defer c.Close()
	enough := errors.New("enough")
	if err := c.Load(ctx, 7, func(string, []byte) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestRefusalsTellWhatTheyAre(t *testing.T) {
	for name, c := range map[string]struct {
		answer             string
		is                 error
		quota, stale, full bool
	}{
		"the number of caches":     {answer: done(507, "full"), is: ErrQuota, quota: true},
		"the size of a cache":      {answer: done(413, "too large"), is: ErrTooLarge, quota: true},
		"a later load":             {answer: done(412, "late"), stale: true},
		"no space on the disk":     {answer: done(records.DiskFull, "ENOSPC"), full: true},
		"a failure inside":         {answer: done(500, "broken")},
		"an answer with no end":    {answer: some("a")[:9], is: ErrUnavailable},
		"an answer of no kind":     {answer: "220 mail ready\r\n\r\n", is: ErrUnavailable},
		"a result that is cut off": {answer: "\x00\x00\x00\x01\x05x", is: ErrUnavailable},
		"records that are none":    {answer: "\x00\x00\x00\x01\x04x", is: ErrUnavailable},
		"a request as an answer":   {answer: "\x00\x00\x00\x00\x01", is: ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := fake(t, c.answer, "")
			client := New(s.path)
			defer client.Close()
			short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			defer cancel()
			err := client.Commit(short, 7, map[string][]byte{"a": []byte("1")})
			if err == nil || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("error %v", err)
			}
			var status *StatusError
			answered := errors.As(err, &status)
			if answered == errors.Is(c.is, ErrUnavailable) || answered && (status.Quota() != c.quota || status.Stale() != c.stale || status.Full() != c.full) {
				t.Errorf("%v is %+v", err, status)
			}
		})
	}
}

func TestAServiceThatDoesNotUpgradeIsNamed(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	ended := make(chan error)
	go func() { ended <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-ended
	}()
	c := New(path)
	defer c.Close()
	if _, err := c.Owners(ctx); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "404 Not Found") {
		t.Errorf("error %v", err)
	}
}

func TestWithoutAServiceCallsSaySo(t *testing.T) {
	c := New("/nonexistent/socket")
	if _, err := load(ctx, c); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "/nonexistent/socket") {
		t.Errorf("error %v", err)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	s := fake(t) // never answers
	c := New(s.path)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err := c.Owners(short)
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// The service hangs; a second connection waits at its socket, which shows the
// monitor that somebody needs it. The call is served when it goes on.
func TestACallThatWaitsLongIsSeenAtTheSocket(t *testing.T) {
	s := fake(t)
	c := New(s.path)
	defer c.Close()
	called := make(chan error, 1)
	go func() { called <- c.Commit(ctx, 7, map[string][]byte{"a": []byte("1")}) }()
	for s.conns.Load() < 2 {
		select {
		case err := <-called:
			t.Fatalf("the call ended: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	s.answers <- done(200, "")
	if err := <-called; err != nil {
		t.Error(err)
	}
}

// connect on a Unix socket does not wait where the backlog is full.
func TestACallWaitsForRoomInTheBacklog(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	filler, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	if _, err := net.Dial("unix", path); !errors.Is(err, syscall.EAGAIN) {
		t.Fatalf("the backlog is not full: %v", err)
	}
	c := New(path)
	defer c.Close()
	called := make(chan error, 1)
	go func() {
		_, err := c.Owners(ctx)
		called <- err
	}()
	select {
	case err := <-called:
		t.Fatalf("the call did not wait: %v", err)
	case <-time.After(5 * dialPause):
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 2 { // the filler, and the call
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		s := &fakeServer{answers: make(chan string, 1)}
		s.answers <- done(200, "")
		go s.serve(conn)
	}
	if err := <-called; err != nil {
		t.Error(err)
	}
}

func TestThereAreNeverTooManyConnections(t *testing.T) {
	answers := make([]string, 100)
	for i := range answers {
		answers[i] = done(200, "")
	}
	s := fake(t, answers...)
	c := New(s.path)
	defer c.Close()
	var group sync.WaitGroup
	for range len(answers) {
		group.Go(func() {
			if _, err := load(ctx, c); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := s.conns.Load(); n > maxConns {
		t.Errorf("%d connections were made", n)
	}
}
