package kdc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jcmturner/gokrb5/v8/messages"

	"gosssd/kcm/protocol"
)

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
	renewed, byKinit := r.byLibrary(ctx, tgt, offset, tgt.Server, "kinit", "-R")
	if byKinit != nil {
		return renewed, fmt.Errorf("%w; and %w", err, byKinit)
	}
	return renewed, nil
}

func (r *Realms) renew(ctx context.Context, tgt protocol.Credential, offset time.Duration) (protocol.Credential, error) {
	request, err := newTGSRequest(tgt, r.now().Add(offset), renewalOf(tgt))
	if err != nil {
		return protocol.Credential{}, fmt.Errorf("the ticket cannot be renewed: %w", err)
	}
	var renewed protocol.Credential
	err = r.exchange(ctx, string(tgt.Server.Realm), request.encoded, func(reply []byte) (err error) {
		renewed, err = acceptRenewal(request, reply)
		return err
	})
	return renewed, err
}

func renewalOf(tgt protocol.Credential) messages.KDCReqBody {
	return messages.KDCReqBody{
		KDCOptions: optionsOf(tgt.TicketFlags&keptFlags | optionRenew),
		Realm:      string(tgt.Server.Realm),
		SName:      nameOf(tgt.Server),
		Till:       time.Unix(int64(tgt.Times.RenewTill), 0).UTC(),
		EType:      enctypes(int32(tgt.Key.Enctype)),
	}
}

// acceptRenewal takes the new ticket out of a reply, which must be for the same
// service and a gain.
func acceptRenewal(request *tgsRequest, reply []byte) (protocol.Credential, error) {
	tgt := request.tgt
	fresh, err := request.accept(reply)
	switch {
	case err != nil:
		return protocol.Credential{}, err
	case !fresh.Server.Equal(tgt.Server):
		return protocol.Credential{}, useless(errAnotherService)
	case fresh.Times.End < tgt.Times.End:
		return protocol.Credential{}, useless(errors.New("its ticket ends earlier than the old one"))
	}
	renewed := tgt
	renewed.Key, renewed.Times, renewed.TicketFlags, renewed.Ticket = fresh.Key, fresh.Times, fresh.TicketFlags, fresh.Ticket
	return renewed, nil
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
