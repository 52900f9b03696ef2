package protocol

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Every codec prints what it has parsed to the same bytes. The seeds are in
// testdata/fuzz; TestEveryFuzzTargetHasSeeds sees to it that they are found.

// printsBack checks that print returns the part of b that parse has taken.
func printsBack[T any](t *testing.T, b []byte, parse func(*Reader) T, encode func([]byte, T) []byte) {
	t.Helper()
	r := NewReader(b)
	value := parse(&r)
	if r.Err() != nil {
		if !errors.Is(r.Err(), ErrMalformed) {
			t.Fatalf("error %v is not ErrMalformed", r.Err())
		}
		return
	}
	taken := b[:len(b)-r.Len()]
	if printed := encode(nil, value); !bytes.Equal(printed, taken) {
		t.Fatalf("parsed %x\nprinted %x", taken, printed)
	}
}

func FuzzPrincipal(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		printsBack(t, b, (*Reader).Principal, AppendPrincipal)
		r := NewReader(b)
		if raw := r.RawPrincipal(); r.Err() == nil && !bytes.HasPrefix(b, raw) {
			t.Fatalf("raw principal %x of %x", raw, b)
		}
	})
}

func FuzzCredential(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		printsBack(t, b, (*Reader).Credential, AppendCredential)
		c, err := ParseCredential(b)
		if err == nil && !bytes.Equal(AppendCredential(nil, c), b) {
			t.Fatalf("credential %x printed otherwise", b)
		}
	})
}

func FuzzCredentialList(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		printsBack(t, b, (*Reader).CredentialList, AppendCredentialList)
	})
}

func FuzzCredtag(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		printsBack(t, b, (*Reader).Credtag, AppendCredtag)
	})
}

// FuzzMatch looks for a credtag and credential that make matching fall over,
// and for a credential that does not match its own description.
func FuzzMatch(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, word uint32) {
		r := NewReader(b)
		tag := r.Credtag()
		cred := r.Credential()
		if r.Err() != nil {
			return
		}
		tag.Matches(&cred, Flags(word))
		own := Credtag{Present: HasClient | HasServer | HasKey | HasAuthData | HasSecondTicket, Credential: cred}
		if !own.Matches(&cred, Flags(word)|MatchIsSkey) {
			t.Fatalf("a credential does not match itself with flags %#x", word)
		}
		RemoveFlags(word)
	})
}

func FuzzRequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		body, size, err := CutRequest(b)
		if err != nil || body == nil {
			return
		}
		request, err := ParseRequest(body)
		if err != nil {
			return
		}
		if printed := AppendRequest(nil, request); !bytes.Equal(printed, b[:size]) {
			t.Fatalf("parsed %x\nprinted %x", b[:size], printed)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, size, err := CutReply(b)
		if err != nil || size == 0 {
			return
		}
		printed := AppendReply(nil, reply)
		if reply.Outer != 0 { // a body behind an outer code is Heimdal's way, not printed
			if len(printed) != replyHeader {
				t.Fatalf("outer code with a body: %x", printed)
			}
			return
		}
		if !bytes.Equal(printed, b[:size]) {
			t.Fatalf("parsed %x\nprinted %x", b[:size], printed)
		}
	})
}

func FuzzUUID(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseUUID(text)
		if err == nil && id.String() != text {
			t.Fatalf("%q printed as %q", text, id)
		}
	})
}

func TestEveryFuzzTargetHasSeeds(t *testing.T) {
	for _, target := range []string{
		"FuzzPrincipal", "FuzzCredential", "FuzzCredentialList", "FuzzCredtag", "FuzzMatch", "FuzzRequest", "FuzzReply", "FuzzUUID",
	} {
		seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", target))
		if err != nil || len(seeds) < 3 {
			t.Errorf("%s has %d seeds (%v), expected at least 3", target, len(seeds), err)
		}
	}
}
