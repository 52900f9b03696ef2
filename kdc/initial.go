package kdc

import (
	"context"
	"fmt"
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

// initialLife is how long a ticket is asked for; the KDC shortens it.
const initialLife = 24 * time.Hour

// Initial gets the first ticket of a client, whose own key this is, for server, in
// most cases the ticket-granting service of its realm. The client shows that it
// has the key by a time stamp (RFC 4120 §5.2.7.2), so that offset must be right.
func (r *Realms) Initial(ctx context.Context, client, server protocol.Principal, key protocol.Keyblock, offset time.Duration) (protocol.Credential, error) {
	realm := string(client.Realm)
	if string(server.Realm) != realm {
		return protocol.Credential{}, fmt.Errorf("%v is in another realm than %v, which no first ticket is for", server, client)
	}
	q := initialRequest{client: client, server: server, now: r.now().Add(offset), key: types.EncryptionKey{KeyType: int32(key.Enctype), KeyValue: key.Key}}
	request, err := q.encode()
	if err != nil {
		return protocol.Credential{}, fmt.Errorf("no ticket can be asked for: %w", err)
	}
	var ticket protocol.Credential
	err = r.exchange(ctx, realm, request, func(reply []byte) (err error) {
		ticket, err = q.accept(reply)
		return err
	})
	return ticket, err
}

// initialRequest is a request to an authentication service (RFC 4120 §3.1).
type initialRequest struct {
	client, server protocol.Principal
	now            time.Time // of the KDC
	key            types.EncryptionKey
	body           messages.KDCReqBody
}

func (q *initialRequest) encode() (encoded []byte, err error) {
	nonce, err := newNonce()
	if err != nil {
		return nil, err
	}
	q.body = messages.KDCReqBody{
		KDCOptions: optionsOf(0),
		CName:      nameOf(q.client), Realm: string(q.client.Realm), SName: nameOf(q.server),
		Till: q.now.Add(initialLife).UTC().Truncate(time.Second), Nonce: nonce,
		EType: enctypes(q.key.KeyType),
	}
	return encoded, guarded(func() error {
		stamp, err := asn1.Marshal(types.PAEncTSEnc{PATimestamp: q.now.UTC().Truncate(time.Second), PAUSec: q.now.Nanosecond() / int(time.Microsecond)})
		if err != nil {
			return err
		}
		sealed, err := crypto.GetEncryptedData(stamp, q.key, keyusage.AS_REQ_PA_ENC_TIMESTAMP, 0)
		if err != nil {
			return err
		}
		proof, err := sealed.Marshal()
		if err != nil {
			return err
		}
		request := messages.ASReq{KDCReqFields: messages.KDCReqFields{
			PVNO: iana.PVNO, MsgType: msgtype.KRB_AS_REQ, ReqBody: q.body,
			PAData: types.PADataSequence{{PADataType: patype.PA_ENC_TIMESTAMP, PADataValue: proof}},
		}}
		encoded, err = request.Marshal()
		return err
	})
}

// accept takes the ticket out of a reply that belongs to the request.
func (q *initialRequest) accept(reply []byte) (protocol.Credential, error) {
	var answer messages.ASRep
	var part messages.EncKDCRepPart
	var ticket []byte
	err := guarded(func() error {
		if err := answer.Unmarshal(reply); err != nil {
			return err
		}
		plain, err := crypto.DecryptEncPart(answer.EncPart, q.key, keyusage.AS_REP_ENCPART)
		if err != nil {
			return err
		}
		if err := part.Unmarshal(plain); err != nil {
			return err
		}
		ticket, err = answer.Ticket.Marshal()
		return err
	})
	if err != nil {
		return protocol.Credential{}, unread(err)
	}
	if err := checkReply(&answer.KDCRepFields, &part, &q.body, q.client, q.now); err != nil {
		return protocol.Credential{}, useless(err)
	}
	fresh := credentialOf(q.client, &part, ticket)
	if !fresh.Server.Equal(q.server) {
		return protocol.Credential{}, useless(errAnotherService)
	}
	return fresh, nil
}
