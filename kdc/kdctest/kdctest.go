// Package kdctest is a KDC for tests: it issues ticket-granting tickets
// without asking for a password, renews them, gives tickets for services, and
// counts. What it answers can be replaced on its way.
package kdctest

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/asn1tools"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/iana/patype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"gosssd/kcm/protocol"
)

// The flags of the tickets that it issues: forwardable, renewable, initial.
const ticketFlags = 0x40c00000

// KDC serves one realm. Its fields are set before it serves.
type KDC struct {
	Realm string
	Now   func() time.Time              // nil: time.Now
	Spoil func(reply []byte) []byte     // changes replies; nil: none
	Edit  func(*messages.EncKDCRepPart) // changes what is sealed for the client; nil: nothing

	Trusts  []string          // realms whose services its users may use, and the other way round
	Refers  map[string]string // the realm of services that it refers to another one
	Unknown []string          // services that it does not know; it knows all others

	Requests atomic.Int64 // that came
	Renewed  atomic.Int64 // renewals that were answered with a ticket
	Issued   atomic.Int64 // other requests that were

	tgs    types.PrincipalName
	keytab *keytab.Keytab
	mu     sync.Mutex // held while a request is answered
	owned  sync.WaitGroup
}

// ticketKey is the type and version of the key that tickets are sealed with.
const (
	ticketKeyType    = 18
	ticketKeyVersion = 1
)

// keySizes are the bytes of a key, by encryption type.
var keySizes = map[int32]int{17: 16, 18: 32, 19: 16, 20: 32}

// New returns a KDC for a realm.
func New(realm string) (*KDC, error) {
	k := &KDC{
		Realm:  realm,
		tgs:    types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", realm}},
		keytab: keytab.New(),
	}
	return k, k.learnKey(k.tgs, realm)
}

// learnKey makes the key of a service known, which all KDCs derive alike.
func (k *KDC) learnKey(service types.PrincipalName, realm string) error {
	if _, _, err := k.keytab.GetEncryptionKey(service, realm, ticketKeyVersion, ticketKeyType); err == nil {
		return nil
	}
	name := service.PrincipalNameString()
	return k.keytab.AddEntry(name, realm, name+"'s own", time.Unix(1, 0), ticketKeyVersion, ticketKeyType)
}

func (k *KDC) now() time.Time {
	if k.Now != nil {
		return k.Now()
	}
	return time.Now()
}

// TGT issues a ticket-granting ticket with a session key of a type.
func (k *KDC) TGT(client string, enctype int16, times protocol.Times) (protocol.Credential, error) {
	cname := types.PrincipalName{NameType: nametype.KRB_NT_PRINCIPAL, NameString: []string{client}}
	k.mu.Lock()
	ticket, key, err := k.ticket(cname, k.Realm, k.tgs, int32(enctype), times)
	k.mu.Unlock()
	if err != nil {
		return protocol.Credential{}, err
	}
	return protocol.Credential{
		Client:      protocol.Principal{Type: nametype.KRB_NT_PRINCIPAL, Realm: []byte(k.Realm), Components: [][]byte{[]byte(client)}},
		Server:      protocol.Principal{Type: nametype.KRB_NT_SRV_INST, Realm: []byte(k.Realm), Components: [][]byte{[]byte("krbtgt"), []byte(k.Realm)}},
		Key:         protocol.Keyblock{Enctype: enctype, Key: key.KeyValue},
		Times:       times,
		TicketFlags: ticketFlags,
		Ticket:      ticket,
	}, nil
}

// ticket seals a ticket and returns its bytes and its session key.
func (k *KDC) ticket(client types.PrincipalName, realm string, service types.PrincipalName, enctype int32, times protocol.Times) ([]byte, types.EncryptionKey, error) {
	if keySizes[enctype] == 0 {
		return nil, types.EncryptionKey{}, fmt.Errorf("encryption type %d is not known", enctype)
	}
	key := types.EncryptionKey{KeyType: enctype, KeyValue: make([]byte, keySizes[enctype])}
	if _, err := rand.Read(key.KeyValue); err != nil {
		return nil, key, err
	}
	flags := types.NewKrbFlags()
	binary.BigEndian.PutUint32(flags.Bytes, ticketFlags)
	if err := k.learnKey(service, k.Realm); err != nil {
		return nil, key, err
	}
	sealed, _, err := messages.NewTicket(client, realm, service, k.Realm, flags, k.keytab, ticketKeyType, ticketKeyVersion,
		at(times.Auth), at(times.Start), at(times.End), at(times.RenewTill))
	if err != nil {
		return nil, key, err
	}
	// NewTicket chooses a session key of the ticket key's type; put ours in.
	if err := sealed.DecryptEncPart(k.keytab, &service); err != nil {
		return nil, key, err
	}
	sealed.DecryptedEncPart.Key = key
	if sealed.EncPart, err = k.seal(sealed.DecryptedEncPart, service); err != nil {
		return nil, key, err
	}
	sealed.DecryptedEncPart = messages.EncTicketPart{}
	raw, err := sealed.Marshal()
	return raw, key, err
}

// seal encrypts what is inside a ticket.
func (k *KDC) seal(part messages.EncTicketPart, service types.PrincipalName) (types.EncryptedData, error) {
	plain, err := asn1.Marshal(part)
	if err != nil {
		return types.EncryptedData{}, err
	}
	key, _, err := k.keytab.GetEncryptionKey(service, k.Realm, ticketKeyVersion, ticketKeyType)
	if err != nil {
		return types.EncryptedData{}, err
	}
	return crypto.GetEncryptedData(asn1tools.AddASNAppTag(plain, asnAppTag.EncTicketPart), key, keyusage.KDC_REP_TICKET, ticketKeyVersion)
}

func at(seconds uint32) time.Time { return time.Unix(int64(seconds), 0).UTC() }

// Answer answers one request.
func (k *KDC) Answer(request []byte) []byte {
	k.Requests.Add(1)
	k.mu.Lock()
	reply, err := k.give(request)
	k.mu.Unlock()
	if err != nil {
		var refusal messages.KRBError
		isRefusal := errors.As(err, &refusal)
		if !isRefusal {
			refusal = messages.NewKRBError(k.tgs, k.Realm, errorcode.KRB_ERR_GENERIC, err.Error())
		}
		reply, _ = refusal.Marshal()
	}
	if k.Spoil != nil {
		reply = k.Spoil(reply)
	}
	return reply
}

func (k *KDC) refuse(code int32, text string) error {
	return messages.NewKRBError(k.tgs, k.Realm, code, text)
}

// Refusal is the answer of a KDC that does not give a ticket.
func (k *KDC) Refusal(code int32, text string) ([]byte, error) {
	refusal := messages.NewKRBError(k.tgs, k.Realm, code, text)
	return refusal.Marshal()
}

// optionRenew marks a renewal among the options of a request.
const optionRenew = 30

// give answers a request with a ticket.
func (k *KDC) give(request []byte) ([]byte, error) {
	var asked messages.TGSReq
	if err := asked.Unmarshal(request); err != nil {
		return nil, err
	}
	old, err := k.open(asked)
	if err != nil {
		return nil, err
	}
	if k.now().After(old.DecryptedEncPart.EndTime) {
		return nil, k.refuse(errorcode.KRB_AP_ERR_TKT_EXPIRED, "ticket expired")
	}
	if types.IsFlagSet(&asked.ReqBody.KDCOptions, optionRenew) {
		return k.renew(asked, old)
	}
	return k.issue(asked, old)
}

// renew answers a request as RFC 4120 §3.3.3.1 asks of a renewal.
func (k *KDC) renew(asked messages.TGSReq, old messages.Ticket) ([]byte, error) {
	part := &old.DecryptedEncPart
	now := k.now().UTC().Truncate(time.Second)
	if !now.Before(part.RenewTill) {
		return nil, k.refuse(errorcode.KRB_AP_ERR_TKT_EXPIRED, "renew-until is over")
	}
	end := now.Add(part.EndTime.Sub(part.StartTime))
	if end.After(part.RenewTill) {
		end = part.RenewTill
	}
	times := protocol.Times{Auth: uint32(part.AuthTime.Unix()), Start: uint32(now.Unix()), End: uint32(end.Unix()), RenewTill: uint32(part.RenewTill.Unix())}
	reply, err := k.reply(asked, old, k.tgs, times)
	if err == nil {
		k.Renewed.Add(1)
	}
	return reply, err
}

// issue answers a request for a service, or refers it to another realm.
func (k *KDC) issue(asked messages.TGSReq, old messages.Ticket) ([]byte, error) {
	service := asked.ReqBody.SName
	name := service.PrincipalNameString()
	if realm, isReferred := k.Refers[name]; isReferred {
		service = types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", realm}}
	}
	isRealm := service.NameString[0] == "krbtgt"
	if slices.Contains(k.Unknown, name) || isRealm && !slices.Contains(append(k.Trusts, k.Realm), service.NameString[1]) {
		return nil, k.refuse(errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN, "LOOKING_UP_SERVER")
	}
	part := &old.DecryptedEncPart
	times := protocol.Times{Auth: uint32(part.AuthTime.Unix()), Start: uint32(k.now().Unix()), End: uint32(part.EndTime.Unix())}
	reply, err := k.reply(asked, old, service, times)
	if err == nil {
		k.Issued.Add(1)
	}
	return reply, err
}

// open reads the ticket of a request and checks that its sender has the key.
func (k *KDC) open(asked messages.TGSReq) (messages.Ticket, error) {
	var application messages.APReq
	for _, pa := range asked.PAData {
		if pa.PADataType == patype.PA_TGS_REQ {
			if err := application.Unmarshal(pa.PADataValue); err != nil {
				return messages.Ticket{}, err
			}
		}
	}
	ticket := application.Ticket
	for _, realm := range k.Trusts {
		if err := k.learnKey(k.tgs, realm); err != nil {
			return ticket, err
		}
	}
	if err := ticket.DecryptEncPart(k.keytab, &k.tgs); err != nil {
		return ticket, k.refuse(errorcode.KRB_AP_ERR_BAD_INTEGRITY, "TGS_REQ")
	}
	if err := application.DecryptAuthenticator(ticket.DecryptedEncPart.Key); err != nil {
		return ticket, k.refuse(errorcode.KRB_AP_ERR_BAD_INTEGRITY, "authenticator")
	}
	const skew = 5 * time.Minute
	if d := application.Authenticator.CTime.Sub(k.now()); d > skew || d < -skew {
		return ticket, k.refuse(errorcode.KRB_AP_ERR_SKEW, "TGS_REQ")
	}
	return ticket, nil
}

func (k *KDC) reply(asked messages.TGSReq, old messages.Ticket, service types.PrincipalName, times protocol.Times) ([]byte, error) {
	part := &old.DecryptedEncPart
	ticket, key, err := k.ticket(part.CName, part.CRealm, service, asked.ReqBody.EType[0], times)
	if err != nil {
		return nil, err
	}
	sealed := messages.EncKDCRepPart{
		Key: key, Nonce: asked.ReqBody.Nonce, Flags: part.Flags,
		LastReqs: []messages.LastReq{{LRValue: at(times.Start)}},
		AuthTime: at(times.Auth), StartTime: at(times.Start), EndTime: at(times.End), RenewTill: at(times.RenewTill),
		SRealm: k.Realm, SName: service,
	}
	if k.Edit != nil {
		k.Edit(&sealed)
	}
	plain, err := sealed.Marshal()
	if err != nil {
		return nil, err
	}
	encrypted, err := crypto.GetEncryptedData(plain, old.DecryptedEncPart.Key, keyusage.TGS_REP_ENCPART_SESSION_KEY, 0)
	if err != nil {
		return nil, err
	}
	answer := messages.TGSRep{KDCRepFields: messages.KDCRepFields{
		PVNO: iana.PVNO, MsgType: msgtype.KRB_TGS_REP,
		CRealm: old.DecryptedEncPart.CRealm, CName: old.DecryptedEncPart.CName, EncPart: encrypted,
	}}
	if err := answer.Ticket.Unmarshal(ticket); err != nil {
		return nil, err
	}
	return answer.Marshal()
}

// ServeTCP answers on a listener until it is closed.
func (k *KDC) ServeTCP(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			k.owned.Wait()
			return
		}
		k.owned.Go(func() {
			defer conn.Close()
			var length [4]byte
			if _, err := io.ReadFull(conn, length[:]); err != nil {
				return
			}
			request, err := io.ReadAll(io.LimitReader(conn, int64(binary.BigEndian.Uint32(length[:]))))
			if err != nil {
				return
			}
			reply := k.Answer(request)
			_, _ = conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(reply))), reply...))
		})
	}
}

// ServeUDP answers datagrams until the socket is closed.
func (k *KDC) ServeUDP(socket net.PacketConn) {
	buffer := make([]byte, 65536)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		_, _ = socket.WriteTo(k.Answer(buffer[:n]), from)
	}
}
