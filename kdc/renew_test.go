package kdc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"

	"gosssd/kcm/protocol"
	"gosssd/kdc/kdctest"
)

const testRealm = "EXAMPLE.TEST"

// started is when the tickets of tests were issued: with an hour to live, of
// which half is over, and a day to be renewed.
var issued = time.Now().Truncate(time.Second).Add(-30 * time.Minute)

func timesOf(start time.Time) protocol.Times {
	s := uint32(start.Unix())
	return protocol.Times{Auth: s, Start: s, End: s + 3600, RenewTill: s + 86400}
}

func newKDC(t testing.TB) *kdctest.KDC {
	t.Helper()
	k, err := kdctest.New(testRealm)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newTGT(t testing.TB, k *kdctest.KDC, enctype int16) protocol.Credential {
	t.Helper()
	tgt, err := k.TGT("alice", enctype, timesOf(issued))
	if err != nil {
		t.Fatal(err)
	}
	return tgt
}

// listenTCP serves a KDC on TCP and returns its address.
func listenTCP(t testing.TB, k *kdctest.KDC) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		k.ServeTCP(l)
		close(done)
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// listenUDP serves a KDC on UDP and returns its address.
func listenUDP(t testing.TB, k *kdctest.KDC) string {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		k.ServeUDP(socket)
		close(done)
	}()
	t.Cleanup(func() {
		socket.Close()
		<-done
	})
	return socket.LocalAddr().String()
}

// realmsOf returns a Realms whose krb5.conf names these KDCs for EXAMPLE.TEST.
func realmsOf(t testing.TB, kdcs ...string) *Realms {
	t.Helper()
	conf := "[libdefaults]\n\tdns_lookup_kdc = false\n[realms]\n\t" + testRealm + " = {\n"
	for _, kdc := range kdcs {
		conf += "\t\tkdc = " + kdc + "\n"
	}
	path := filepath.Join(t.TempDir(), "krb5.conf")
	if err := os.WriteFile(path, []byte(conf+"\t}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Realms{Files: []string{path}, KDCInfo: t.TempDir()}
}

func TestRenewalKeepsAllButTimesKeyAndTicket(t *testing.T) {
	k := newKDC(t)
	r := realmsOf(t, listenTCP(t, k))
	for _, enctype := range []int16{17, 18, 19, 20} {
		t.Run(fmt.Sprintf("enctype %d", enctype), func(t *testing.T) {
			tgt := newTGT(t, k, enctype)
			renewed, err := r.Renew(t.Context(), tgt, 0)
			if err != nil {
				t.Fatal(err)
			}
			if renewed.Key.Enctype != enctype || bytes.Equal(renewed.Key.Key, tgt.Key.Key) || bytes.Equal(renewed.Ticket, tgt.Ticket) {
				t.Error("the key is not a new one of the same type, or the ticket is the old one")
			}
			life := renewed.Times.End - renewed.Times.Start
			if renewed.Times.Auth != tgt.Times.Auth || renewed.Times.RenewTill != tgt.Times.RenewTill || life != 3600 || renewed.Times.End <= tgt.Times.End {
				t.Errorf("times %+v became %+v", tgt.Times, renewed.Times)
			}
			renewed.Key, renewed.Times, renewed.Ticket = tgt.Key, tgt.Times, tgt.Ticket
			if !bytes.Equal(protocol.AppendCredential(nil, renewed), protocol.AppendCredential(nil, tgt)) {
				t.Errorf("%+v became %+v", tgt, renewed)
			}
		})
	}
}

func TestTheOffsetOfTheCacheIsTheKDCsTime(t *testing.T) {
	k := newKDC(t)
	const ahead = 12 * time.Minute
	k.Now = func() time.Time { return time.Now().Add(ahead) }
	r := realmsOf(t, listenTCP(t, k))
	tgt := newTGT(t, k, 18)
	var refused *Refused
	if _, err := r.Renew(t.Context(), tgt, 0); !errors.As(err, &refused) || refused.Code != 37 {
		t.Errorf("without the offset: %v, want code 37", err)
	}
	if _, err := r.Renew(t.Context(), tgt, ahead); err != nil {
		t.Errorf("with the offset: %v", err)
	}
}

func TestARefusalIsTheKDCsOwn(t *testing.T) {
	k := newKDC(t)
	r := realmsOf(t, listenTCP(t, k))
	tgt := newTGT(t, k, 18)
	tgt.Ticket[len(tgt.Ticket)-1]++
	_, err := r.Renew(t.Context(), tgt, 0)
	var refused *Refused
	if !errors.As(err, &refused) || refused.Code != 31 {
		t.Fatalf("%v, want code 31", err)
	}
	if want := `the KDC refuses: Integrity check on decrypted field failed (code 31, "TGS_REQ")`; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if n := k.Requests.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// Whatever a KDC answers, the ticket that it does not give is not taken.
func TestRepliesThatAreNotTaken(t *testing.T) {
	for name, test := range map[string]struct {
		edit  func(*messages.EncKDCRepPart)
		spoil func([]byte) []byte
		want  string
	}{
		"another request's":          {edit: func(p *messages.EncKDCRepPart) { p.Nonce++ }, want: "it answers another request"},
		"another service's":          {edit: func(p *messages.EncKDCRepPart) { p.SName.NameString = []string{"krbtgt", "OTHER.TEST"} }, want: "it is for another service"},
		"another realm's":            {edit: func(p *messages.EncKDCRepPart) { p.SRealm = "OTHER.TEST" }, want: "it is for another service"},
		"one that has ended":         {edit: func(p *messages.EncKDCRepPart) { p.EndTime = time.Unix(5, 0).UTC() }, want: "ended already"},
		"one that ends earlier":      {edit: func(p *messages.EncKDCRepPart) { p.EndTime = issued.Add(55 * time.Minute).UTC() }, want: "ends earlier"},
		"one with a weak key":        {edit: func(p *messages.EncKDCRepPart) { p.Key.KeyType = 3 }, want: "encryption type 3, which was not asked for"},
		"one without a key":          {edit: func(p *messages.EncKDCRepPart) { p.Key.KeyValue = nil }, want: "no key"},
		"rubbish":                    {spoil: func([]byte) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, want: errReply.Error()},
		"one that was cut":           {spoil: func(b []byte) []byte { return b[:len(b)/2] }, want: errReply.Error()},
		"one that was tampered with": {spoil: func(b []byte) []byte { b[len(b)-1]++; return b }, want: errReply.Error()},
		"nothing":                    {spoil: func([]byte) []byte { return nil }, want: "it announces 0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newKDC(t), newKDC(t)
			bad.Edit, bad.Spoil = test.edit, test.spoil
			tgt := newTGT(t, bad, 18)
			_, err := realmsOf(t, "tcp/"+listenTCP(t, bad)).Renew(t.Context(), tgt, 0)
			var away *Unreachable
			if !errors.As(err, &away) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			// The next KDC of the realm helps.
			if _, err := realmsOf(t, "tcp/"+listenTCP(t, bad), "tcp/"+listenTCP(t, good)).Renew(t.Context(), tgt, 0); err != nil {
				t.Errorf("with a good KDC behind it: %v", err)
			}
		})
	}
}

func TestATicketThatIsNoneIsNotSent(t *testing.T) {
	k := newKDC(t)
	r := realmsOf(t, listenTCP(t, k))
	for name, spoil := range map[string]func(*protocol.Credential){
		"an empty ticket":          func(c *protocol.Credential) { c.Ticket = nil },
		"a ticket that is cut":     func(c *protocol.Credential) { c.Ticket = c.Ticket[:20] },
		"a key of an unknown type": func(c *protocol.Credential) { c.Key.Enctype = 999 },
		"a key that is too short":  func(c *protocol.Credential) { c.Key.Key = c.Key.Key[:3] },
		"no key":                   func(c *protocol.Credential) { c.Key.Key = nil },
	} {
		t.Run(name, func(t *testing.T) {
			tgt := newTGT(t, k, 18)
			spoil(&tgt)
			if _, err := r.Renew(t.Context(), tgt, 0); err == nil || !strings.Contains(err.Error(), "cannot be renewed") {
				t.Error(err)
			}
		})
	}
	if n := k.Requests.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func FuzzReply(f *testing.F) {
	k := newKDC(f)
	tgt, err := k.TGT("alice", 18, timesOf(issued))
	if err != nil {
		f.Fatal(err)
	}
	request, err := newTGSRequest(tgt, time.Now(), renewalOf(tgt))
	if err != nil {
		f.Fatal(err)
	}
	good := k.Answer(request.encoded)
	f.Add(good)
	f.Add(k.Answer(nil))
	f.Fuzz(func(t *testing.T, reply []byte) {
		_ = tooBig(reply)
		if renewed, err := acceptRenewal(request, reply); err == nil && !bytes.Equal(reply, good) {
			t.Errorf("a forged reply was taken: %+v", renewed)
		}
	})
}

func TestFileCacheOfKinit(t *testing.T) {
	tgt := newTGT(t, newKDC(t), 20)
	got, err := decodeFile(encodeFile(tgt, -time.Minute), tgt.Client, tgt.Server)
	if err != nil || !bytes.Equal(protocol.AppendCredential(nil, got), protocol.AppendCredential(nil, tgt)) {
		t.Errorf("%+v, %v", got, err)
	}
	other := tgt
	other.Server = tgt.Client
	for name, b := range map[string][]byte{"empty": nil, "of version 3": {5, 3, 0, 0}, "cut": encodeFile(tgt, 0)[:200], "without it": encodeFile(other, 0)} {
		if _, err := decodeFile(b, tgt.Client, tgt.Server); err == nil {
			t.Errorf("a cache that is %s was taken", name)
		}
	}
}

// kinit is replaced by a program that leaves nothing, and one that hangs.
func TestKinitThatDoesNotHelp(t *testing.T) {
	dir, bin := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	script := func(text string) {
		if err := os.WriteFile(filepath.Join(bin, "kinit"), []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	tgt := newTGT(t, newKDC(t), 18)
	script("echo Cannot contact any KDC >&2; exit 1")
	realms := &Realms{Files: []string{"/a.conf", "/b.conf"}, KinitDir: dir}
	byKinit := func(ctx context.Context) (protocol.Credential, error) {
		return realms.byLibrary(ctx, tgt, 0, tgt.Server, "kinit", "-R")
	}
	if _, err := byKinit(t.Context()); err == nil || !strings.Contains(err.Error(), "Cannot contact any KDC") {
		t.Error(err)
	}
	script("rm \"${KRB5CCNAME#FILE:}\"")
	if _, err := byKinit(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	script("echo it reads $KRB5_CONFIG; exit 1")
	if _, err := byKinit(t.Context()); !strings.Contains(err.Error(), "it reads /a.conf:/b.conf") {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(dir, kinitPrefix+"1"), 0o700); err != nil { // of a process that was killed
		t.Fatal(err)
	}
	if err := realms.Tidy(); err != nil {
		t.Error(err)
	}
	script("exec sleep 600")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := byKinit(ctx); err == nil {
		t.Error("no error of a kinit that hangs")
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%v is left behind", left)
	}
}

// A ticket that is too large to be asked for is refused here, and no KDC is
// taken for dead because of it.
func TestATicketThatIsTooLargeIsNoOutage(t *testing.T) {
	tgt := newTGT(t, newKDC(t), 18)
	tgt.AuthData = nil
	tgt.Client.Components = [][]byte{bytes.Repeat([]byte("x"), maxRequest)}
	_, err := (&Realms{}).Renew(t.Context(), tgt, 0)
	var unreachable *Unreachable
	if err == nil || errors.As(err, &unreachable) || !strings.Contains(err.Error(), "the limit is") {
		t.Error(err)
	}
	useless := &Unreachable{"R", fmt.Errorf("a: %w", errReply)}
	if silent := (&Unreachable{"R", os.ErrDeadlineExceeded}); useless.Outage() || !silent.Outage() {
		t.Error("a useless answer is an outage, or silence is none")
	}
}
