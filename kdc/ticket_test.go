package kdc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"gosssd/kcm/protocol"
	"gosssd/kdc/kdctest"
	"gosssd/kdc/profile"
)

// serviceOf returns the principal HTTP/HOST@REALM.
func serviceOf(host, realm string) protocol.Principal {
	return protocol.Principal{Type: 3, Realm: []byte(realm), Components: [][]byte{[]byte("HTTP"), []byte(host)}}
}

// serveRealms serves KDCs over TCP and returns a Realms that knows them.
func serveRealms(t testing.TB, kdcs ...*kdctest.KDC) *Realms {
	t.Helper()
	conf := "[libdefaults]\n\tdns_lookup_kdc = false\n[realms]\n"
	for _, k := range kdcs {
		conf += "\t" + k.Realm + " = {\n\t\tkdc = " + listenTCP(t, k) + "\n\t}\n"
	}
	path := filepath.Join(t.TempDir(), "krb5.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Realms{Files: []string{path}, KDCInfo: t.TempDir()}
}

func trusting(t testing.TB, realm string, trusts ...string) *kdctest.KDC {
	t.Helper()
	k, err := kdctest.New(realm)
	if err != nil {
		t.Fatal(err)
	}
	k.Trusts = trusts
	return k
}

func TestATicketIsForWhomItWasAskedFor(t *testing.T) {
	k := newKDC(t)
	r := serveRealms(t, k)
	tgt := newTGT(t, k, 18)
	for _, realm := range []string{testRealm, ""} {
		want := Wanted{Server: serviceOf("web.example.test", realm)}
		got, err := r.Ticket(t.Context(), tgt, want, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || !got[0].Server.Equal(want.Server) || !got[0].Client.Equal(tgt.Client) {
			t.Fatalf("realm %q: %+v", realm, got)
		}
		var ticket messages.Ticket
		if err := ticket.Unmarshal(got[0].Ticket); err != nil || ticket.Realm != testRealm || ticket.SName.PrincipalNameString() != "HTTP/web.example.test" {
			t.Errorf("realm %q: the ticket is for %v@%s, %v", realm, ticket.SName, ticket.Realm, err)
		}
		if got[0].Key.Enctype != 18 || len(got[0].Key.Key) != 32 || got[0].Times.End != tgt.Times.End || got[0].IsSkey != 0 {
			t.Errorf("realm %q: %+v", realm, got[0])
		}
	}
}

func TestAServiceIsFoundInAnotherRealm(t *testing.T) {
	const other, far = "OTHER.TEST", "FAR.EXAMPLE.TEST"
	home := trusting(t, testRealm, other)
	home.Refers = map[string]string{"HTTP/web.other.test": other}
	away := trusting(t, other, testRealm, far)
	distant := trusting(t, far, other)
	r := serveRealms(t, home, away, distant)
	tgt := newTGT(t, home, 18)
	for name, server := range map[string]protocol.Principal{
		"by referral":     serviceOf("web.other.test", testRealm),
		"without a realm": serviceOf("web.other.test", ""),
		"by its realm":    serviceOf("web.other.test", other),
	} {
		got, err := r.Ticket(t.Context(), tgt, Wanted{Server: server}, 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(got) != 2 || !got[0].Server.Equal(protocol.TGS(other, testRealm)) || !got[1].Server.Equal(server) {
			t.Errorf("%s: %v, %v", name, got[0].Server, got[len(got)-1].Server)
		}
		again, err := r.Ticket(t.Context(), got[0], Wanted{Server: serviceOf("x.other.test", other)}, 0)
		if err != nil || len(again) != 1 {
			t.Errorf("%s: with the TGT of the other realm: %v", name, err)
		}
	}
}

// TestRealmsBetweenAreTried: FAR is known to OTHER alone, as capaths says.
func TestRealmsBetweenAreTried(t *testing.T) {
	const other, far = "OTHER.TEST", "FAR.TEST"
	home, away, distant := trusting(t, testRealm, other), trusting(t, other, testRealm, far), trusting(t, far, other)
	r := serveRealms(t, home, away, distant)
	text, err := os.ReadFile(r.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	capaths := fmt.Sprintf("[capaths]\n\t%s = {\n\t\t%s = %s\n\t}\n", testRealm, far, other)
	if err := os.WriteFile(r.Files[0], append(text, capaths...), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := r.Ticket(t.Context(), newTGT(t, home, 18), Wanted{Server: serviceOf("web.far.test", far)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || realmOf(got[0]) != other || realmOf(got[1]) != far {
		t.Errorf("%d tickets, %v", len(got), got[0].Server)
	}
}

func TestKDCsThatReferInACircle(t *testing.T) {
	const other = "OTHER.TEST"
	home, away := trusting(t, testRealm, other), trusting(t, other, testRealm)
	home.Refers = map[string]string{"HTTP/web": other}
	away.Refers = map[string]string{"HTTP/web": testRealm}
	_, err := serveRealms(t, home, away).Ticket(t.Context(), newTGT(t, home, 18), Wanted{Server: serviceOf("web", "")}, 0)
	if err == nil || !strings.Contains(err.Error(), "refers from realm OTHER.TEST to EXAMPLE.TEST") {
		t.Error(err)
	}
}

func TestAServiceThatTheKDCDoesNotKnow(t *testing.T) {
	k := newKDC(t)
	k.Unknown = []string{"HTTP/nobody"}
	r := serveRealms(t, k)
	for _, server := range []protocol.Principal{serviceOf("nobody", testRealm), serviceOf("x", "NOWHERE.TEST")} {
		_, err := r.Ticket(t.Context(), newTGT(t, k, 18), Wanted{Server: server}, 0)
		var refused *Refused
		if !errors.As(err, &refused) || refused.Code != 7 {
			t.Errorf("%v: %v, want code 7", server, err)
		}
	}
}

// TestRepliesThatLie: each is well sealed, and not for what was asked.
func TestRepliesThatLie(t *testing.T) {
	for name, lie := range map[string]func(*messages.EncKDCRepPart){
		"another realm":          func(p *messages.EncKDCRepPart) { p.SRealm = "OTHER.TEST" },
		"another service":        func(p *messages.EncKDCRepPart) { p.SName.NameString = []string{"HTTP", "evil"} },
		"another request":        func(p *messages.EncKDCRepPart) { p.Nonce++ },
		"a key nobody asked for": func(p *messages.EncKDCRepPart) { p.Key.KeyType = 23 },
		"no key":                 func(p *messages.EncKDCRepPart) { p.Key = types.EncryptionKey{KeyType: 18} },
		"the past":               func(p *messages.EncKDCRepPart) { p.EndTime = time.Now().Add(-time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			k := newKDC(t)
			k.Edit = lie
			got, err := serveRealms(t, k).Ticket(t.Context(), newTGT(t, k, 18), Wanted{Server: serviceOf("web", "")}, 0)
			if !errors.Is(err, errReply) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestWhatIsNoTGTAsksForNothing(t *testing.T) {
	k := newKDC(t)
	r := serveRealms(t, k)
	got, err := r.Ticket(t.Context(), newTGT(t, k, 18), Wanted{Server: serviceOf("web", "")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	before := k.Requests.Load()
	if _, err := r.Ticket(t.Context(), got[0], Wanted{Server: serviceOf("other", "")}, 0); err == nil || k.Requests.Load() != before {
		t.Errorf("with a service's ticket: %v", err)
	}
	if _, err := r.Ticket(t.Context(), newTGT(t, k, 18), Wanted{Server: serviceOf("web", ""), SecondTicket: []byte("rubbish")}, 0); err == nil || k.Requests.Load() != before {
		t.Errorf("with a second ticket that is none: %v", err)
	}
}

func TestPathBetweenRealms(t *testing.T) {
	path1 := filepath.Join(t.TempDir(), "krb5.conf")
	if err := os.WriteFile(path1, []byte("[capaths]\n A = {\n  D = B\n  D = C\n  E = .\n }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := profile.Load(path1)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{"A", "D", "B C"}, {"A", "E", ""}, {"A", "X", ""},
		{"LAB.EU.EXAMPLE.ORG", "DEV.US.EXAMPLE.ORG", "EU.EXAMPLE.ORG EXAMPLE.ORG US.EXAMPLE.ORG"},
		{"EXAMPLE.ORG", "DEV.US.EXAMPLE.ORG", "US.EXAMPLE.ORG"},
		{"DEV.US.EXAMPLE.ORG", "EXAMPLE.ORG", "US.EXAMPLE.ORG"},
	} {
		if got := strings.Join(path(conf, c.from, c.to), " "); got != c.want {
			t.Errorf("from %s to %s: %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

func TestEnctypesOfKrb5Conf(t *testing.T) {
	for text, want := range map[string][]int32{
		"":                           nil,
		"aes256-cts-hmac-sha1-96":    {18},
		"aes256-cts, aes128-cts":     {18, 17},
		"DEFAULT -aes256-sha1":       {17, 20, 19},
		"DEFAULT +rc4":               {18, 17, 20, 19, 23},
		"aes-sha2 aes":               {18, 17, 20, 19},
		"des-cbc-crc what-is-this":   nil,
		"aes128-cts-hmac-sha256-128": {19},
	} {
		if got := enctypesOf(text); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
