package rest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"gosssd/secrets/records"
)

// patch is a commit as sssd_kcm sends it.
func patch(uid int, key, value string) string {
	body := records.Append(nil, key, []byte(value))
	return fmt.Sprintf("PATCH /kcm/persistent/%d/ HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		uid, records.MediaType, records.MediaType, len(body), body)
}

const listing = "GET /kcm/persistent/ HTTP/1.1\r\nHost: localhost\r\nAccept: " + records.MediaType + "\r\n\r\n"

// converse sends requests in pieces on one connection, and returns the
// statuses of the answers.
func converse(t *testing.T, s *testServer, pieces []string, answers int) []int {
	t.Helper()
	s.mu.Lock()
	s.as = uint32(os.Geteuid())
	s.mu.Unlock()
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	go func() {
		for _, piece := range pieces {
			_, _ = io.WriteString(conn, piece)
		}
	}()
	var statuses []int
	for range answers {
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("after %v: %v", statuses, err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, answer.StatusCode)
	}
	return statuses
}

func TestRequestsOfTheKCMServiceMixWithOthers(t *testing.T) {
	get := "GET /secrets/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n"
	many := patch(1, "ccache/a", "x") + listing + patch(2, "ccache/a", strings.Repeat("y", 100_000)) + listing
	var bytes []string
	for b := range strings.SplitSeq(patch(1, "default", "x")+listing, "") {
		bytes = append(bytes, b)
	}
	for name, c := range map[string]struct {
		pieces []string
		want   []int
	}{
		"many at once":              {[]string{many}, []int{200, 200, 200, 200}},
		"one byte after the other":  {bytes, []int{200, 200}},
		"others after them":         {[]string{many + get + many}, []int{200, 200, 200, 200, 404, 200, 200, 200, 200}},
		"others before them":        {[]string{get, many}, []int{404, 200, 200, 200, 200}},
		"another header":            {[]string{strings.Replace(listing, "Host", "X: y\r\nHost", 1)}, []int{200}},
		"a method nobody knows":     {[]string{strings.Replace(listing, "GET", "PAT", 1)}, []int{400}},
		"a user who is none":        {[]string{strings.Replace(patch(1, "a", "b"), "/1/", "/x/", 1)}, []int{404}},
		"records that are none":     {[]string{strings.Replace(patch(1, "a", "b"), "\x00\x00\x00\x01a", "\xff\x00\x00\x01a", 1)}, []int{400}},
		"a body larger than quotas": {[]string{strings.Replace(patch(1, "a", "b"), "Content-Length: ", "Content-Length: 999999", 1)}, []int{413}},
		"a path with a query":       {[]string{strings.Replace(listing, "/ HTTP", "/?type=x HTTP", 1)}, []int{400}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, sections{"secrets/kcm": {"max_payload_size": "1000"}})
			if got := converse(t, s, c.pieces, len(c.want)); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("answers %v, want %v", got, c.want)
			}
		})
	}
}

func TestUsersDoNotReachRecordsDirectly(t *testing.T) {
	s := serve(t, nil)
	r := s.do(t, call{as: uint32(os.Geteuid()) + 1, method: "PATCH", path: "/kcm/persistent/1/", header: http.Header{"Content-Type": {records.MediaType}}})
	if r.status != http.StatusForbidden {
		t.Errorf("answered %d", r.status)
	}
}

// pipe is a socket that only reads.
type pipe struct {
	socket
	io.Reader
}

func (p pipe) Read(b []byte) (int, error)      { return p.Reader.Read(b) }
func (p pipe) SetReadDeadline(time.Time) error { return nil }

func FuzzInbox(f *testing.F) {
	f.Add([]byte(patch(1, "default", "x") + listing + patch(2, "a", "")))
	f.Add([]byte(listing + "GET /secrets/a HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		for _, from := range []io.Reader{strings.NewReader(string(sent)), iotest.OneByteReader(strings.NewReader(string(sent)))} {
			in := &inbox{from: pipe{Reader: from}, buf: make([]byte, usualRequest)}
			used := 0
			for {
				r, err := in.next(1 << 20)
				if err != nil {
					break
				}
				used += len(r.body)
			}
			if used > len(sent) {
				t.Errorf("%d bytes of bodies in %d bytes", used, len(sent))
			}
		}
	})
}
