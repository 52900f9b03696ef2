package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gosssd/secrets/records"
)

var ctx = context.Background()

// fakeServer answers each request on a connection with the next of its
// answers; an empty answer closes the connection.
type fakeServer struct {
	path     string
	conns    atomic.Int64
	requests atomic.Int64
}

func fake(t *testing.T, answers ...string) *fakeServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{path: filepath.Join(dir, "s")}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	next := make(chan string, len(answers))
	for _, answer := range answers {
		next <- answer
	}
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Add(1)
			serving.Go(func() { s.serve(conn, next) })
		}
	})
	t.Cleanup(func() {
		close(next) // ends those that have no answer
		l.Close()
		serving.Wait()
		os.RemoveAll(dir)
	})
	return s
}

func (s *fakeServer) serve(conn net.Conn, answers chan string) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		length := 0
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if strings.TrimSpace(line) == "" {
				break
			}
			fmt.Sscanf(line, "Content-Length: %d", &length)
		}
		if _, err := io.CopyN(io.Discard, in, int64(length)); err != nil {
			return
		}
		s.requests.Add(1)
		answer := <-answers
		if answer == "" {
			return
		}
		io.WriteString(conn, answer)
	}
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func status(code int, text string) string {
	return fmt.Sprintf("HTTP/1.1 %d Words\r\nContent-Length: %d\r\n\r\n%s", code, len(text), text)
}

func TestAConnectionIsKept(t *testing.T) {
	s := fake(t, ok(""), ok(string(records.Append(nil, "a", []byte("1")))), ok(string(records.Append(nil, "7", []byte{}))))
	c := New(s.path)
	defer c.Close()
	if err := c.Commit(ctx, 7, map[string][]byte{"a": []byte("1"), "b": nil}); err != nil {
		t.Fatal(err)
	}
	if all, err := c.Load(ctx, 7); err != nil || len(all) != 1 || string(all["a"]) != "1" {
		t.Errorf("records %v, %v", all, err)
	}
	if owners, err := c.Owners(ctx); err != nil || fmt.Sprint(owners) != "[7]" {
		t.Errorf("owners %v, %v", owners, err)
	}
	if n := s.conns.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

func TestARequestIsSentAgainWhenTheServiceHadLeft(t *testing.T) {
	s := fake(t, ok(""), "", ok(""))
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

func TestRefusalsTellWhatTheyAre(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		is     error
		quota  bool
	}{
		"the number of caches":  {status(507, "full"), ErrQuota, true},
		"the size of a cache":   {status(413, "too large"), ErrTooLarge, true},
		"a failure inside":      {status(500, "broken"), nil, false},
		"an answer with no end": {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ErrUnavailable, false},
		"an answer of no kind":  {"220 mail ready\r\n\r\n", ErrUnavailable, false},
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
			var refused interface{ Quota() bool }
			if quota := errors.As(err, &refused) && refused.Quota(); quota != c.quota {
				t.Errorf("quota is %v for %v", quota, err)
			}
		})
	}
}

func TestWithoutAServiceCallsSaySo(t *testing.T) {
	c := New("/nonexistent/socket")
	if _, err := c.Load(ctx, 7); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "/nonexistent/socket") {
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

func TestThereAreNeverTooManyConnections(t *testing.T) {
	answers := make([]string, 100)
	for i := range answers {
		answers[i] = ok("")
	}
	s := fake(t, answers...)
	c := New(s.path)
	defer c.Close()
	var group sync.WaitGroup
	for range len(answers) {
		group.Go(func() {
			if _, err := c.Load(ctx, 7); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := s.conns.Load(); n > maxConns {
		t.Errorf("%d connections were made", n)
	}
}

func TestFuzzingHasSeeds(t *testing.T) {
	if seeds, err := os.ReadDir("testdata/fuzz/FuzzReply"); err != nil || len(seeds) < 4 {
		t.Errorf("%d seeds, %v", len(seeds), err)
	}
}

func FuzzReply(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(b), maxLine)
		answer, err := readReply(in)
		if err != nil {
			return
		}
		rest, err := io.ReadAll(in)
		if err != nil || !bytes.HasSuffix(b, append(bytes.Clone(answer.body), rest...)) {
			t.Errorf("body %q and rest %q of %q", answer.body, rest, b)
		}
	})
}
