package kcm

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"gosssd/kcm/logins"
	"gosssd/kcm/protocol"
	"gosssd/responder"
	"gosssd/responder/log"
)

func FuzzHeader(f *testing.F) {
	bound := &cache{name: "1000:7", principal: protocol.AppendPrincipal(nil, principalOf("alice@"+realm)), mode: defaultMode, generated: true,
		session: &logins.Session{Boot: protocol.UUID{2}, Root: 3, Group: 4, UID: 1000, Name: "c1"}}
	f.Add(encodeHeader(bound))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeHeader(protocol.UUID{1}, b)
		if err == nil && !bytes.Equal(encodeHeader(c), b) {
			t.Fatalf("header %x printed as %x", b, encodeHeader(c))
		}
	})
}

func FuzzCredentialRecord(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCredential(1, b)
		if err == nil && !bytes.Equal(encodeCredential(c.raw()), b) {
			t.Fatalf("record %x printed otherwise", b)
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, key string) {
		id, seq, isHeader, err := parseKey(key)
		if err != nil {
			return
		}
		printed := headerKey(id)
		if !isHeader {
			printed = credentialKey(id, seq)
		}
		if printed != key {
			t.Fatalf("key %q printed as %q", key, printed)
		}
	})
}

// FuzzRequests sends whole requests, as a stream, to a server that has
// something to lose and guards a key, and sees to it that what is published is
// what is stored, and the key is shown to root alone.
func FuzzRequests(f *testing.F) {
	f.Fuzz(func(t *testing.T, uid uint32, stream []byte) {
		r, _ := ticketRig(t, conf{"max_uid_ccaches": "4", "max_ccache_size": "4", "guard": "yes"})
		c := r.client(1000)
		c.login("1000:a", "alice")
		guarded := ticket("alice", tgs, 36000)
		guarded.Key.Key = bytes.Repeat([]byte("secret  "), 4)
		c.must(protocol.OpStore, name("1000:a"), raw(guarded))
		c.must(protocol.OpStore, name("1000:a"), service("alice", "host/a"))
		s := newSession(r.server, responder.Peer{UID: uid % 3 * 500}, log.Discard())
		requests := frames{from: &stalled{pieces: [][]byte{stream}}}
		for {
			body, err := requests.next()
			if err != nil || s.answer(context.Background(), body) != nil {
				break
			}
			if reply, size, err := protocol.CutReply(whole(s)); err != nil || size != len(whole(s)) {
				t.Fatalf("reply %x: %+v, %v", whole(s), reply, err)
			}
			if s.peer.UID != rootUID && bytes.Contains(whole(s), guarded.Key.Key) {
				t.Fatalf("the key is in the reply %x", whole(s))
			}
		}
		for _, user := range r.server.users.all() {
			if user.published.Load() != nil {
				r.checkStore(user.uid)
			}
		}
	})
}

func TestEveryFuzzTargetHasSeeds(t *testing.T) {
	for _, target := range []string{"FuzzHeader", "FuzzCredentialRecord", "FuzzKey", "FuzzRequests"} {
		seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", target))
		if err != nil || len(seeds) < 3 {
			t.Errorf("%s has %d seeds (%v), expected at least 3", target, len(seeds), err)
		}
	}
}
