package rest

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/secrets"
	"gosssd/secrets/vault"
)

// attack opens connections of uid 1000, on each of which something is sent and
// nothing is read, until the test ends. What does not fit into the socket's
// buffer waits for the service.
func attack(t *testing.T, s *testServer, connections int, sent string) {
	t.Helper()
	bytes := []byte(sent)
	var sending sync.WaitGroup
	var conns []net.Conn
	before := s.requests.Load()
	t.Cleanup(func() {
		for _, conn := range conns {
			conn.Close()
		}
		sending.Wait()
	})
	for range connections {
		s.setPeer(1000)
		conn, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		sending.Go(func() { _, _ = conn.Write(bytes) }) // which all share
	}
	waitFor(t, func() bool { return s.requests.Load() >= before+uint64(connections) })
}

// heap is the memory in use, in MiB.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

func TestMemoryForOneUsersRequestsIsBounded(t *testing.T) {
	const connections, size = 64, 2 << 20 // together 128 MiB
	large := strings.Repeat("x", size)
	octets := http.Header{"Content-Type": {octetType}}
	for name, sent := range map[string]string{
		"requests that are sent by half": fmt.Sprintf("PUT /secrets/a HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n%s", 2*size, large),
		"replies that are never read":    "GET /secrets/large HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n\r\n",
		"lists that are never read":      "GET /secrets/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, sections{"secrets": {"max_payload_size": "0", "max_uid_secrets": "0", "max_secrets": "0"}})
			if r := s.do(t, call{as: 1000, method: "PUT", path: "/secrets/large", header: octets, body: []byte(large)}); r.status != 200 {
				t.Fatalf("answered %d", r.status)
			}
			for i := range 200 { // names make a list of 800 KB
				s.expect(t, 200, fmt.Sprintf("PUT /secrets/%d%s x", i, strings.Repeat("n", 4000)))
			}
			before := heap()
			attack(t, s, connections, sent)
			for range 20 {
				if r := s.do(t, call{as: 1001, method: "GET", path: "/secrets/", header: octets}); r.status != 404 {
					t.Fatalf("another user is answered %d", r.status)
				}
			}
			if taken := heap() - before; taken > 40 {
				t.Errorf("they take %d MiB", taken)
			}
		})
	}
}

// TestMemoryIsGivenBackAfterwards has requests leave garbage behind.
func TestMemoryIsGivenBackAfterwards(t *testing.T) {
	debug.FreeOSMemory() // what other tests left
	synctest.Test(t, func(t *testing.T) {
		handler, err := New(vault.Open)(&responder.Service{
			Descriptor: secrets.Descriptor(), Root: responder.Root(t.TempDir()),
			Conf: snapshot(t, sections{}), Log: log.To(&safeBuffer{}, log.Mask(9)),
		})
		if err != nil {
			t.Fatal(err)
		}
		var all [][]byte
		for range 512 {
			all = append(all, make([]byte, 1<<16))
		}
		runtime.KeepAlive(all)
		before := givenBack()
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if got := givenBack() - before; got < 16<<20 {
			t.Errorf("after a minute %d of 32768 KiB are given back", got>>10)
		}
		if err := handler.(*service).Close(); err != nil {
			t.Error(err)
		}
	})
}

func givenBack() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapReleased)
}
