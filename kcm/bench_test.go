package kcm

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/responder"
	"gosssd/responder/log"
)

// These measure the server without a socket: what a request costs between
// its frame and its reply.

func benchSession(b *testing.B, credentials int) *session {
	b.Helper()
	r := newRig(b, conf{"max_ccache_size": "0"})
	s := newSession(r.server, responder.Peer{UID: 1000}, log.Discard())
	list := [][]byte{tgt("alice")}
	for i := range credentials - 1 {
		list = append(list, bulky(i))
	}
	run(b, s, body(protocol.OpReplace, name("1000"), u32(0), princ("alice@"+realm), protocol.AppendCredentialList(nil, list)))
	return s
}

// bulky is a service ticket of the usual 1.2 kB.
func bulky(i int) []byte {
	cred := ticket("alice", fmt.Sprintf("host/%d.example.org@%s", i, realm), 36000)
	cred.Ticket = make([]byte, 1000)
	return raw(cred)
}

func body(op protocol.Op, params ...[]byte) []byte { return request(op, params...)[4:] }

func run(b testing.TB, s *session, body []byte) {
	if err := s.answer(context.Background(), body); err != nil {
		b.Fatal(err)
	}
	s.count(time.Microsecond)
	if reply, _, err := protocol.CutReply(whole(s)); err != nil || reply.Outer != 0 || reply.Inner != 0 {
		b.Fatalf("%v: %+v, %v", s.op.op, reply, err)
	}
	s.forgetReply()
}

// whole is a session's reply in one piece.
func whole(s *session) []byte {
	all := s.out
	for _, e := range s.tail {
		all = protocol.AppendData(all, e.raw())
	}
	return append(all, s.last...)
}

func BenchmarkRead(b *testing.B) {
	s := benchSession(b, 5)
	requests := [][]byte{body(protocol.OpGetDefaultCache), body(protocol.OpGetPrincipal, name("1000")), body(protocol.OpGetCredList, name("1000"))}
	b.ReportAllocs()
	for b.Loop() {
		for _, request := range requests {
			run(b, s, request)
		}
	}
}

func BenchmarkRetrieve(b *testing.B) {
	for _, credentials := range []int{10, 2000} {
		b.Run(fmt.Sprintf("the last of %d", credentials), func(b *testing.B) {
			s := benchSession(b, credentials)
			request := body(protocol.OpRetrieve, name("1000"), u32(1), credtagOf(bulky(credentials-2)))
			b.ReportAllocs()
			for b.Loop() {
				run(b, s, request)
			}
		})
	}
}

func BenchmarkGetCredListOf2000(b *testing.B) {
	s := benchSession(b, 2000)
	request := body(protocol.OpGetCredList, name("1000"))
	b.ReportAllocs()
	for b.Loop() {
		run(b, s, request)
	}
}

func BenchmarkStore(b *testing.B) {
	for _, credentials := range []int{10, 2000} {
		b.Run(fmt.Sprintf("as number %d", credentials), func(b *testing.B) {
			s := benchSession(b, credentials-1)
			store := body(protocol.OpStore, name("1000"), bulky(credentials))
			remove := body(protocol.OpRemoveCred, name("1000"), u32(0), credtagOf(bulky(credentials)))
			b.ReportAllocs()
			for b.Loop() {
				run(b, s, store)
				b.StopTimer()
				run(b, s, remove)
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprintf("in the place of number %d", credentials), func(b *testing.B) {
			s := benchSession(b, credentials)
			store := body(protocol.OpStore, name("1000"), bulky(credentials-2))
			b.ReportAllocs()
			for b.Loop() {
				run(b, s, store)
			}
		})
	}
}

func BenchmarkLoadOf2000(b *testing.B) {
	s := benchSession(b, 2000)
	records := s.server.users.opened.(*fakeStore).records(1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, damaged := decodeState(records); len(damaged) > 0 {
			b.Fatal(damaged)
		}
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	r := newRig(t, nil)
	c := r.client(1000)
	c.login("1000", "alice")
	s := newSession(r.server, responder.Peer{UID: 1000}, log.Discard())
	id := slices.Clone(c.must(protocol.OpGetCacheUUIDList))
	for op, params := range map[protocol.Op][]byte{
		protocol.OpGetDefaultCache: nil, protocol.OpGetPrincipal: name("1000"), protocol.OpGetCredList: name("1000"), protocol.OpGetCacheUUIDList: nil,
		protocol.OpGetCacheByUUID: id, protocol.OpGetCredUUIDList: name("1000"), protocol.OpGetKDCOffset: name("1000"),
	} {
		request := body(op, params)
		run(t, s, request)
		if allocations := testing.AllocsPerRun(100, func() {
			_ = s.answer(context.Background(), request)
			s.count(time.Microsecond)
		}); allocations > 0 {
			t.Errorf("%v allocates %v times", op, allocations)
		}
	}
}
