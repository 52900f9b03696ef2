package kdc

import (
	"bytes"
	"context"
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

// The options of a request (RFC 4120 §5.4.1). Those that are also flags of a
// ticket have the same bits, so that a ticket asks to stay what it is.
const (
	optionRenew = 0x00000002
	keptFlags   = 0x54800000 // forwardable, proxiable, allow-postdate, renewable
)

// maxRequest is how large a request may be. A server would close the connection
// for a larger one, which would look as if it did not answer anybody.
const maxRequest = 256 << 10

// strongEnctypes are offered for the new session key behind the old one's.
var strongEnctypes = []int32{20, 19, 18, 17}

// Renew asks for tgt anew: a ticket-granting ticket with the same names and
// flags and a later end. offset is how far the KDC's clock is ahead. Errors
// are Refused, Unreachable, or say that tgt cannot be used.
//
// The KDC decides the new end alone: as far from now as the old one was from
// its start, but not behind renew-until.
func (r *Realms) Renew(ctx context.Context, tgt protocol.Credential, offset time.Duration) (protocol.Credential, error) {
	renewed, err := r.renew(ctx, tgt, offset)
	if !wantsLibrary(err) || r.KinitDir == "" {
		return renewed, err
	}
	renewed, byKinit := r.renewByKinit(ctx, tgt, offset)
	if byKinit != nil {
		return renewed, fmt.Errorf("%w; and %w", err, byKinit)
	}
	return renewed, nil
}

func (r *Realms) renew(ctx context.Context, tgt protocol.Credential, offset time.Duration) (protocol.Credential, error) {
	renewal, err := newRenewal(tgt, r.now().Add(offset))
	if err != nil {
		return protocol.Credential{}, fmt.Errorf("the ticket cannot be renewed: %w", err)
	}
	var renewed protocol.Credential
	err = r.exchange(ctx, string(tgt.Server.Realm), renewal.request, func(reply []byte) (err error) {
		renewed, err = renewal.accept(reply)
		return err
	})
	return renewed, err
}

// renewal is one request with what is needed to understand its reply.
type renewal struct {
	tgt     protocol.Credential
	now     time.Time // of the KDC
	key     types.EncryptionKey
	body    messages.KDCReqBody
	request []byte
}

func newRenewal(tgt protocol.Credential, now time.Time) (*renewal, error) {
	nonce, err := rand.Int(rand.Reader, big.NewInt(math.MaxInt32))
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
	options := types.NewKrbFlags()
	binary.BigEndian.PutUint32(options.Bytes, tgt.TicketFlags&keptFlags|optionRenew)
	n := &renewal{
		tgt: tgt, now: now,
		key: types.EncryptionKey{KeyType: int32(tgt.Key.Enctype), KeyValue: tgt.Key.Key},
		body: messages.KDCReqBody{
			KDCOptions: options,
			Realm:      string(tgt.Server.Realm),
			SName:      nameOf(tgt.Server),
			Till:       time.Unix(int64(tgt.Times.RenewTill), 0).UTC(),
			Nonce:      int(nonce.Int64()),
			EType:      enctypes(int32(tgt.Key.Enctype)),
			Addresses:  addressesOf(tgt.Addresses),
		},
	}
	return n, guarded(func() error { return n.sign(ticket) })
}

// enctypes returns the old session key's type first, so that it is kept.
func enctypes(old int32) []int32 {
	list := []int32{old}
	for _, enctype := range strongEnctypes {
		if enctype != old {
			list = append(list, enctype)
		}
	}
	return list
}

// sign makes the request with the ticket and an authenticator that only the
// holder of its session key can make (RFC 4120 §7.2.2, PA-TGS-REQ).
func (n *renewal) sign(ticket messages.Ticket) error {
	body, err := n.body.Marshal()
	if err != nil {
		return err
	}
	enctype, err := crypto.GetEtype(n.key.KeyType)
	if err != nil {
		return err
	}
	checksum, err := enctype.GetChecksumHash(n.key.KeyValue, body, keyusage.TGS_REQ_PA_TGS_REQ_AP_REQ_AUTHENTICATOR_CHKSUM)
	if err != nil {
		return err
	}
	authenticator, err := types.NewAuthenticator(string(n.tgt.Client.Realm), nameOf(n.tgt.Client))
	if err != nil {
		return err
	}
	authenticator.CTime = n.now.UTC().Truncate(time.Second)
	authenticator.Cusec = n.now.Nanosecond() / int(time.Microsecond)
	authenticator.Cksum = types.Checksum{CksumType: enctype.GetHashID(), Checksum: checksum}
	application, err := messages.NewAPReq(ticket, n.key, authenticator)
	if err != nil {
		return err
	}
	proof, err := application.Marshal()
	if err != nil {
		return err
	}
	request := messages.TGSReq{KDCReqFields: messages.KDCReqFields{
		PVNO: iana.PVNO, MsgType: msgtype.KRB_TGS_REQ, ReqBody: n.body,
		PAData: types.PADataSequence{{PADataType: patype.PA_TGS_REQ, PADataValue: proof}},
	}}
	n.request, err = request.Marshal()
	if err == nil && len(n.request) > maxRequest {
		return fmt.Errorf("the request for it would have %d bytes, the limit is %d", len(n.request), maxRequest)
	}
	return err
}

// accept takes the new ticket out of a reply that belongs to the request.
func (n *renewal) accept(reply []byte) (protocol.Credential, error) {
	var answer messages.TGSRep
	var ticket []byte
	err := guarded(func() error {
		if err := answer.Unmarshal(reply); err != nil {
			return err
		}
		if err := answer.DecryptEncPart(n.key); err != nil {
			return err
		}
		var err error
		ticket, err = answer.Ticket.Marshal()
		return err
	})
	var refusal messages.KRBError
	if errors.As(err, &refusal) {
		return protocol.Credential{}, &Refused{refusal.ErrorCode, refusal.EText}
	}
	if err != nil {
		return protocol.Credential{}, fmt.Errorf("%w: %w", errReply, err)
	}
	renewed := n.credential(&answer.DecryptedEncPart, ticket)
	if err := n.check(&answer, renewed); err != nil {
		return protocol.Credential{}, fmt.Errorf("%w: %w", errReply, err)
	}
	return renewed, nil
}

func (n *renewal) credential(part *messages.EncKDCRepPart, ticket []byte) protocol.Credential {
	renewed := n.tgt
	renewed.Key = protocol.Keyblock{Enctype: int16(part.Key.KeyType), Key: part.Key.KeyValue}
	renewed.Times = protocol.Times{
		Auth: seconds(part.AuthTime), Start: seconds(part.StartTime),
		End: seconds(part.EndTime), RenewTill: seconds(part.RenewTill),
	}
	if part.StartTime.IsZero() {
		renewed.Times.Start = renewed.Times.Auth
	}
	renewed.TicketFlags = flagsOf(part.Flags)
	renewed.Ticket = ticket
	return renewed
}

// check refuses a reply of somebody else, an old one, and one that is no gain
// (RFC 4120 §3.3.4).
func (n *renewal) check(answer *messages.TGSRep, renewed protocol.Credential) error {
	part := &answer.DecryptedEncPart
	switch {
	case answer.CRealm != string(n.tgt.Client.Realm) || !answer.CName.Equal(nameOf(n.tgt.Client)):
		return errors.New("it is for another client")
	case part.SRealm != n.body.Realm || !part.SName.Equal(n.body.SName),
		answer.Ticket.Realm != n.body.Realm || !answer.Ticket.SName.Equal(n.body.SName):
		return errors.New("it is for another service")
	case part.Nonce != n.body.Nonce:
		return errors.New("it answers another request")
	case !slices.Contains(n.body.EType, part.Key.KeyType):
		return fmt.Errorf("its session key has encryption type %d, which was not asked for", part.Key.KeyType)
	case len(part.Key.KeyValue) == 0 || len(answer.Ticket.EncPart.Cipher) == 0:
		return errors.New("it has no key or no ticket")
	case int64(renewed.Times.End) <= n.now.Unix():
		return errors.New("its ticket has ended already")
	case renewed.Times.End < n.tgt.Times.End:
		return errors.New("its ticket ends earlier than the old one")
	}
	return nil
}

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
