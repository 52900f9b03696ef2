package kdc

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"gosssd/kcm/protocol"
)

var testClient = protocol.Principal{Type: 1, Realm: []byte(testRealm), Components: [][]byte{[]byte("alice")}}

// newInitial returns a request for a first ticket, and the answer of an honest
// KDC; the ticket in it is of a TGT.
func newInitial(t testing.TB) (*initialRequest, messages.ASRep, messages.EncKDCRepPart) {
	t.Helper()
	q := &initialRequest{
		client: testClient, server: protocol.TGS(testRealm, testRealm), now: time.Now(),
		key: types.EncryptionKey{KeyType: 18, KeyValue: bytes.Repeat([]byte{7}, 32)},
	}
	if _, err := q.encode(); err != nil {
		t.Fatal(err)
	}
	tgt := newTGT(t, newKDC(t), 18)
	answer := messages.ASRep{KDCRepFields: messages.KDCRepFields{
		PVNO: iana.PVNO, MsgType: msgtype.KRB_AS_REP, CRealm: testRealm, CName: q.body.CName,
	}}
	if err := answer.Ticket.Unmarshal(tgt.Ticket); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	return q, answer, messages.EncKDCRepPart{
		Key: types.EncryptionKey{KeyType: 18, KeyValue: bytes.Repeat([]byte{9}, 32)}, Nonce: q.body.Nonce,
		Flags: types.NewKrbFlags(), LastReqs: []messages.LastReq{{LRValue: now}}, AuthTime: now, EndTime: now.Add(time.Hour),
		SRealm: testRealm, SName: nameOf(q.server),
	}
}

// sealed is the reply with a part that is sealed in a key.
func sealed(t testing.TB, answer messages.ASRep, part messages.EncKDCRepPart, key types.EncryptionKey) []byte {
	t.Helper()
	plain, err := part.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if answer.EncPart, err = crypto.GetEncryptedData(plain, key, keyusage.AS_REP_ENCPART, 0); err != nil {
		t.Fatal(err)
	}
	reply, err := answer.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestTheFirstTicketIsTakenFromAnHonestReplyOnly(t *testing.T) {
	q, answer, part := newInitial(t)
	got, err := q.accept(sealed(t, answer, part, q.key))
	if err != nil || !got.Client.Equal(testClient) || !got.Server.Equal(q.server) || !bytes.Equal(got.Key.Key, part.Key.KeyValue) {
		t.Fatalf("%+v, %v", got, err)
	}
	for says, lie := range map[string]func(*messages.ASRep, *messages.EncKDCRepPart){
		"another client":  func(a *messages.ASRep, _ *messages.EncKDCRepPart) { a.CName.NameString = []string{"bob"} },
		"another service": func(_ *messages.ASRep, p *messages.EncKDCRepPart) { p.SName.NameString = []string{"krbtgt", "OTHER"} },
		"another request": func(_ *messages.ASRep, p *messages.EncKDCRepPart) { p.Nonce++ },
		"was not asked":   func(_ *messages.ASRep, p *messages.EncKDCRepPart) { p.Key.KeyType = 23 },
		"no key":          func(_ *messages.ASRep, p *messages.EncKDCRepPart) { p.Key.KeyValue = nil },
		"has ended":       func(_ *messages.ASRep, p *messages.EncKDCRepPart) { p.EndTime = time.Now().Add(-time.Hour) },
	} {
		q, answer, part := newInitial(t)
		lie(&answer, &part)
		if got, err := q.accept(sealed(t, answer, part, q.key)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %+v, %v", says, got, err)
		}
	}
	other := types.EncryptionKey{KeyType: 18, KeyValue: bytes.Repeat([]byte{8}, 32)}
	if got, err := q.accept(sealed(t, answer, part, other)); err == nil {
		t.Errorf("a reply sealed in another key was taken: %+v", got)
	}
}

func TestNoFirstTicketIsAskedForInAnotherRealm(t *testing.T) {
	k := newKDC(t)
	r := realmsOf(t, listenTCP(t, k))
	_, err := r.Initial(t.Context(), testClient, protocol.TGS("OTHER", "OTHER"), protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)}, 0)
	if err == nil || k.Requests.Load() != 0 {
		t.Error(err)
	}
	if _, err := r.Initial(t.Context(), testClient, protocol.TGS(testRealm, testRealm), protocol.Keyblock{Enctype: 999, Key: []byte("x")}, 0); err == nil || k.Requests.Load() != 0 {
		t.Error(err)
	}
}

func FuzzInitialReply(f *testing.F) {
	q, answer, part := newInitial(f)
	good := sealed(f, answer, part, q.key)
	f.Add(good)
	f.Fuzz(func(t *testing.T, reply []byte) {
		if got, err := q.accept(reply); err == nil && !bytes.Equal(reply, good) {
			// The ticket, the version and padding data are not sealed with the key.
			if !bytes.Equal(got.Key.Key, part.Key.KeyValue) || got.Times.End != seconds(part.EndTime) {
				t.Errorf("a forged reply was taken: %+v", got)
			}
		}
	})
}
