package kdc

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"gosssd/kcm/protocol"
)

// The options of a request (RFC 4120 §5.4.1, RFC 6806 §3). Those that are also
// flags of a ticket have the same bits, so that a ticket asks to stay what it is.
const (
	optionRenew        = 0x00000002
	optionUserToUser   = 0x00000008 // ENC-TKT-IN-SKEY
	optionCanonicalize = 0x00010000
	optionForwarded    = 0x20000000
	keptFlags          = 0x54800000 // forwardable, proxiable, allow-postdate, renewable
)

// maxRequest is how large a request may be. A server would close the connection
// for a larger one, which would look as if it did not answer anybody.
const maxRequest = 256 << 10

// tgsRequest is one request to a ticket-granting service, with what is needed
// to understand its reply (RFC 4120 §3.3).
type tgsRequest struct {
	tgt     protocol.Credential // shows who asks
	now     time.Time           // of the KDC
	key     types.EncryptionKey // of tgt
	body    messages.KDCReqBody
	encoded []byte
}

// newTGSRequest asks the realm of body for its server. The nonce and what tgt
// says itself are filled in.
func newTGSRequest(tgt protocol.Credential, now time.Time, body messages.KDCReqBody) (*tgsRequest, error) {
	nonce, err := newNonce()
	if err != nil {
		return nil, err
	}
	var ticket messages.Ticket
	if err := guarded(func() error { return ticket.Unmarshal(tgt.Ticket) }); err != nil {
		return nil, fmt.Errorf("what is stored is not a ticket: %w", err)
	}
	if len(ticket.SName.NameString) == 0 {
		return nil, errors.New("the ticket is for nobody")
	}
	body.Nonce = nonce
	body.Addresses = addressesOf(tgt.Addresses)
	q := &tgsRequest{
		tgt: tgt, now: now, body: body,
		key: types.EncryptionKey{KeyType: int32(tgt.Key.Enctype), KeyValue: tgt.Key.Key},
	}
	return q, guarded(func() error { return q.sign(ticket) })
}

// optionsOf encodes the options of a request.
func optionsOf(options uint32) asn1.BitString {
	bits := types.NewKrbFlags()
	binary.BigEndian.PutUint32(bits.Bytes, options)
	return bits
}

// sign makes the request with the ticket and an authenticator that only the
// holder of its session key can make (RFC 4120 §7.2.2, PA-TGS-REQ).
func (q *tgsRequest) sign(ticket messages.Ticket) error {
	body, err := q.body.Marshal()
	if err != nil {
		return err
	}
	enctype, err := crypto.GetEtype(q.key.KeyType)
	if err != nil {
		return err
	}
	checksum, err := enctype.GetChecksumHash(q.key.KeyValue, body, keyusage.TGS_REQ_PA_TGS_REQ_AP_REQ_AUTHENTICATOR_CHKSUM)
	if err != nil {
		return err
	}
	authenticator, err := types.NewAuthenticator(string(q.tgt.Client.Realm), nameOf(q.tgt.Client))
	if err != nil {
		return err
	}
	authenticator.CTime = q.now.UTC().Truncate(time.Second)
	authenticator.Cusec = q.now.Nanosecond() / int(time.Microsecond)
	authenticator.Cksum = types.Checksum{CksumType: enctype.GetHashID(), Checksum: checksum}
	application, err := messages.NewAPReq(ticket, q.key, authenticator)
	if err != nil {
		return err
	}
	proof, err := application.Marshal()
	if err != nil {
		return err
	}
	request := messages.TGSReq{KDCReqFields: messages.KDCReqFields{
		PVNO: iana.PVNO, MsgType: msgtype.KRB_TGS_REQ, ReqBody: q.body,
		PAData: types.PADataSequence{{PADataType: patype.PA_TGS_REQ, PADataValue: proof}},
	}}
	q.encoded, err = request.Marshal()
	if err == nil && len(q.encoded) > maxRequest {
		return fmt.Errorf("the request for it would have %d bytes, the limit is %d", len(q.encoded), maxRequest)
	}
	return err
}

// accept takes the new ticket out of a reply that belongs to the request. The
// credential names the server that the KDC names, which the caller must check.
func (q *tgsRequest) accept(reply []byte) (protocol.Credential, error) {
	var answer messages.TGSRep
	var ticket []byte
	err := guarded(func() error {
		if err := answer.Unmarshal(reply); err != nil {
			return err
		}
		if err := answer.DecryptEncPart(q.key); err != nil {
			return err
		}
		var err error
		ticket, err = answer.Ticket.Marshal()
		return err
	})
	if err != nil {
		return protocol.Credential{}, unread(err)
	}
	if err := checkReply(&answer.KDCRepFields, &answer.DecryptedEncPart, &q.body, q.tgt.Client, q.now); err != nil {
		return protocol.Credential{}, useless(err)
	}
	fresh := credentialOf(q.tgt.Client, &answer.DecryptedEncPart, ticket)
	fresh.Addresses = q.tgt.Addresses
	return fresh, nil
}

// newNonce returns a number that ties a reply to its request.
func newNonce() (int, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(math.MaxInt32))
	if err != nil {
		return 0, err
	}
	return int(n.Int64()), nil
}

// unread says why there is no ticket in a reply: the KDC refuses, or the reply
// cannot be read, for which the library gave err.
func unread(err error) error {
	if refusal, is := errors.AsType[messages.KRBError](err); is {
		return &Refused{refusal.ErrorCode, refusal.EText}
	}
	return useless(err)
}

// useless says that a reply cannot be used, and why.
func useless(why error) error { return fmt.Errorf("%w: %w", errReply, why) }

// credentialOf makes a credential of what a reply says.
func credentialOf(client protocol.Principal, part *messages.EncKDCRepPart, ticket []byte) protocol.Credential {
	fresh := protocol.Credential{
		Client: client,
		Server: principalOf(part.SName, part.SRealm),
		Key:    protocol.Keyblock{Enctype: int16(part.Key.KeyType), Key: part.Key.KeyValue},
		Times: protocol.Times{
			Auth: seconds(part.AuthTime), Start: seconds(part.StartTime),
			End: seconds(part.EndTime), RenewTill: seconds(part.RenewTill),
		},
		TicketFlags: flagsOf(part.Flags),
		Ticket:      ticket,
	}
	fresh.Times.Start = fresh.Times.Begin()
	return fresh
}

// checkReply refuses a reply of somebody else, an old one, and one without a
// ticket that can be used (RFC 4120 §3.1.5, §3.3.4). That the service is the one
// that was asked for is left to the caller, since a KDC may refer to another.
func checkReply(answer *messages.KDCRepFields, part *messages.EncKDCRepPart, asked *messages.KDCReqBody, client protocol.Principal, now time.Time) error {
	switch {
	case answer.CRealm != string(client.Realm) || !answer.CName.Equal(nameOf(client)):
		return errors.New("it is for another client")
	case part.SRealm != asked.Realm, answer.Ticket.Realm != asked.Realm, !answer.Ticket.SName.Equal(part.SName):
		return errAnotherService
	case part.Nonce != asked.Nonce:
		return errors.New("it answers another request")
	case !slices.Contains(asked.EType, part.Key.KeyType):
		return fmt.Errorf("its session key has encryption type %d, which was not asked for", part.Key.KeyType)
	case len(part.Key.KeyValue) == 0 || len(answer.Ticket.EncPart.Cipher) == 0:
		return errors.New("it has no key or no ticket")
	case int64(seconds(part.EndTime)) <= now.Unix():
		return errors.New("its ticket has ended already")
	}
	return nil
}

var errAnotherService = errors.New("it is for another service")

// guarded turns a panic of the library, which some malformed messages cause,
// into an error.
func guarded(f func() error) (err error) {
	defer func() {
		if what := recover(); what != nil {
			err = fmt.Errorf("malformed: %v", what)
		}
	}()
	return f()
}

func nameOf(p protocol.Principal) types.PrincipalName {
	name := types.PrincipalName{NameType: p.Type}
	for _, component := range p.Components {
		name.NameString = append(name.NameString, string(component))
	}
	return name
}

func principalOf(name types.PrincipalName, realm string) protocol.Principal {
	p := protocol.Principal{Type: name.NameType, Realm: []byte(realm)}
	for _, component := range name.NameString {
		p.Components = append(p.Components, []byte(component))
	}
	return p
}

func addressesOf(list []protocol.Element) []types.HostAddress {
	var addresses []types.HostAddress
	for _, a := range list {
		addresses = append(addresses, types.HostAddress{AddrType: int32(a.Type), Address: bytes.Clone(a.Data)})
	}
	return addresses
}

func flagsOf(bits asn1.BitString) uint32 {
	var b [4]byte
	copy(b[:], bits.Bytes)
	return binary.BigEndian.Uint32(b[:])
}

// seconds returns a time as a credential has it: 0 if there is none.
func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix(), 0), math.MaxUint32))
}
