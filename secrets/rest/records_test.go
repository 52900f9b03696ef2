package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gosssd/secrets/records"
	"gosssd/secrets/vault"
)

// rawClient is a connection after the upgrade, on which a test sends what it
// likes.
type rawClient struct {
	net.Conn
	t  testing.TB
	in *records.Reader
}

// dialRecords connects and upgrades. The service upgrades for all it trusts.
func dialRecords(t testing.TB, s *testServer) *rawClient {
	t.Helper()
	s.setPeer(uint32(os.Geteuid()))
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &rawClient{Conn: conn, t: t, in: records.NewReader(conn)}
	c.send([]byte(records.UpgradeRequest))
	if err := c.in.Text(records.UpgradeAnswer); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *rawClient) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer and returns its status and the keys of its records.
func (c *rawClient) answer() (status int, keys []string) {
	c.t.Helper()
	for {
		frame, err := c.in.Next(1 << 30)
		if err != nil {
			c.t.Fatalf("after %d records: %v", len(keys), err)
		}
		if frame.Kind == records.Done {
			result, err := records.ParseResult(frame.Content)
			if err != nil {
				c.t.Fatal(err)
			}
			slices.Sort(keys)
			return result.Status, keys
		}
		for b := frame.Content; len(b) > 0; {
			record, rest, err := records.Cut(b)
			if err != nil || frame.Kind != records.Some {
				c.t.Fatalf("a frame of kind %v: %v", frame.Kind, err)
			}
			keys, b = append(keys, record.Key), rest
		}
	}
}

func frame(kind records.Kind, content []byte) []byte {
	b := append(records.Begin(nil, kind), content...)
	records.End(b)
	return b
}

func loadRequest(uid uint32, token records.Token) []byte {
	return frame(records.Load, records.Subject{UID: uid, Token: token}.AppendTo(nil))
}

func commitRequest(uid uint32, key, value string) []byte {
	return frame(records.Commit, records.Append(records.Subject{UID: uid}.AppendTo(nil), key, []byte(value)))
}

// waitFor returns when something has become true.
func waitFor(t testing.TB, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

func TestRequestsAreAnsweredHoweverTheyArrive(t *testing.T) {
	many := slices.Concat(commitRequest(1, "ccache/a", "x"), frame(records.Owners, nil), commitRequest(2, "ccache/a", strings.Repeat("y", 100_000)), loadRequest(2, records.Token{}))
	var single [][]byte
	for _, b := range slices.Concat(commitRequest(1, "default", "x"), loadRequest(1, records.Token{})) {
		single = append(single, []byte{b})
	}
	for name, c := range map[string]struct {
		pieces [][]byte
		want   string // statuses and keys
	}{
		"many at once":             {[][]byte{many}, "200[] 200[1] 200[] 200[ccache/a] "},
		"one byte after the other": {single, "200[] 200[default] "},
		"nobody's records":         {[][]byte{loadRequest(7, records.Token{1})}, "200[] "},
		"an unknown kind":          {[][]byte{frame(99, loadRequest(1, records.Token{})), frame(records.Owners, nil)}, "400[] 200[] "},
		"an answer as a request":   {[][]byte{records.Result{Status: 200}.AppendTo(nil)}, "400[] "},
		"half a subject":           {[][]byte{frame(records.Load, []byte("abc"))}, "400[] "},
		"records that are none":    {[][]byte{frame(records.Commit, append(records.Subject{UID: 1}.AppendTo(nil), 1, 2, 3))}, "400[] "},
		"a request that is too long": {[][]byte{frame(records.Commit, make([]byte, 3<<20)), frame(records.Owners, nil)},
			"413[] 200[] "},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialRecords(t, serve(t, sections{"secrets/kcm": {"max_payload_size": "1000"}}))
			go func() {
				for _, piece := range c.pieces {
					_, _ = conn.Write(piece)
				}
			}()
			got := ""
			for range strings.Fields(c.want) {
				status, keys := conn.answer()
				got += fmt.Sprint(status, keys, " ")
			}
			if got = strings.ReplaceAll(got, " [", "["); got != c.want {
				t.Errorf("answers %s, want %s", got, c.want)
			}
		})
	}
}

func TestWhatFollowsTheUpgradeAtOnceIsRead(t *testing.T) {
	s := serve(t, nil)
	s.setPeer(uint32(os.Geteuid()))
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(append([]byte(records.UpgradeRequest), frame(records.Owners, nil)...)); err != nil {
		t.Fatal(err)
	}
	c := &rawClient{Conn: conn, t: t, in: records.NewReader(conn)}
	if err := c.in.Text(records.UpgradeAnswer); err != nil {
		t.Fatal(err)
	}
	if status, _ := c.answer(); status != 200 {
		t.Errorf("answered %d", status)
	}
}

func TestUsersDoNotReachRecordsDirectly(t *testing.T) {
	s := serve(t, nil)
	upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {records.Protocol}}
	r := s.do(t, call{as: uint32(os.Geteuid()) + 1, method: "GET", path: "/kcm/persistent/", header: upgrade})
	if r.status != http.StatusForbidden {
		t.Errorf("answered %d", r.status)
	}
}

func TestAnotherProtocolIsNotUpgradedTo(t *testing.T) {
	s := serve(t, nil)
	upgrade := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Content-Type": {jsonType}}
	if r := s.do(t, call{method: "GET", path: "/kcm/persistent/", header: upgrade}); r.status != http.StatusNotFound {
		t.Errorf("answered %d", r.status)
	}
}

// A load is sent in pieces, however much it is.
func TestALoadIsNotHeldAsAWhole(t *testing.T) {
	conn := dialRecords(t, serve(t, nil))
	const each, number = 300_000, 20
	for i := range number {
		conn.send(commitRequest(1, fmt.Sprintf("ccache/a/%02d", i), strings.Repeat("x", each)))
		if status, _ := conn.answer(); status != 200 {
			t.Fatalf("answered %d", status)
		}
	}
	conn.send(loadRequest(1, records.Token{}))
	total := 0
	for {
		f, err := conn.in.Next(each + pieceSize + 100)
		if err != nil {
			t.Fatal(err)
		}
		if f.Kind == records.Done {
			break
		}
		total += len(f.Content)
	}
	if total < each*number {
		t.Errorf("%d bytes came", total)
	}
}

func TestErrorsReachTheLogOfTheKCMService(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"the disk is full":  {fmt.Errorf("write /x: no space left on device: %w", vault.ErrFull), records.DiskFull, "write /x: no space left on device: " + vault.ErrFull.Error()},
		"the vault is gone": {errors.New("open /x: no such file"), 500, "open /x: no such file"},
		"a quota":           {errStale, 412, errStale.text},
	} {
		var sent bytes.Buffer
		client := &session{socket: writer{Writer: &sent}, log: serve(t, nil).log}
		k := &kcmConn{service: serve(t, nil).service, client: client, some: -1}
		if err := k.finish(c.err); err != nil {
			t.Fatal(err)
		}
		f, err := records.NewReader(&sent).Next(1000)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := records.ParseResult(f.Content); err != nil || r.Status != c.status || r.Text != c.text {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if status, _ := statusOf(vault.ErrFull); status != http.StatusInsufficientStorage {
		t.Errorf("in HTTP a full disk is %d", status)
	}
}

// writer is a socket that only writes.
type writer struct {
	socket
	io.Writer
}

func (w writer) Write(b []byte) (int, error)      { return w.Writer.Write(b) }
func (w writer) SetWriteDeadline(time.Time) error { return nil }

// FuzzRecords sends anything after the upgrade: the service neither breaks nor
// answers more than it was asked.
func FuzzRecords(f *testing.F) {
	s := serve(f, nil)
	f.Add(slices.Concat(commitRequest(1, "default", "x"), loadRequest(1, records.Token{1}), frame(records.Owners, nil)))
	f.Add(frame(records.Commit, []byte("x")))
	f.Fuzz(func(t *testing.T, sent []byte) {
		asked := 0
		for in := records.NewReader(bytes.NewReader(sent)); ; asked++ {
			if _, err := in.Next(1 << 30); err != nil {
				break
			}
		}
		conn := dialRecords(t, s)
		go func() {
			_, _ = conn.Write(sent)
			_ = conn.Conn.(*net.UnixConn).CloseWrite()
		}()
		answers := 0
		for {
			frame, err := conn.in.Next(1 << 30)
			if err != nil {
				break
			}
			if frame.Kind == records.Done {
				answers++
			}
		}
		if answers != asked {
			t.Errorf("%d answers to %d requests", answers, asked)
		}
	})
}
