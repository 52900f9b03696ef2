package kdc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/messages"

	"gosssd/kcm/protocol"
	"gosssd/kdc/profile"
)

// Wanted says which ticket to get.
type Wanted struct {
	// Server is whom the ticket is for. Without a realm it is looked for where
	// the client is at home, and where that realm's KDC refers to.
	Server protocol.Principal
	// SecondTicket is the TGT of a user who acts as a server, in whose session
	// key the ticket is to be sealed (user-to-user); nil: an ordinary ticket.
	SecondTicket []byte
	// Forwarded asks for a TGT to be handed to another host.
	Forwarded bool
}

// maxHops bounds the realms on the way to a service, as libkrb5 does.
const maxHops = 10

// defaultEnctypes are asked for where krb5.conf says nothing, in libkrb5's
// order without what it has come to call weak.
var defaultEnctypes = []int32{18, 17, 20, 19}

// Ticket gets a ticket by means of tgt, from realm to realm where it must be.
// The last of what it returns is the ticket, under the name that was asked for;
// before it stand the TGTs of other realms that were got on the way. offset is
// how far the KDCs' clocks are ahead. Errors are Refused, Unreachable, or say
// that tgt cannot be used.
func (r *Realms) Ticket(ctx context.Context, tgt protocol.Credential, want Wanted, offset time.Duration) ([]protocol.Credential, error) {
	got, err := r.ticket(ctx, tgt, want, offset)
	if !wantsLibrary(err) || r.KinitDir == "" || want.Forwarded || want.SecondTicket != nil {
		return got, err
	}
	ticket, byKvno := r.byLibrary(ctx, tgt, offset, want.Server, "kvno", "--", want.Server.String())
	if byKvno != nil {
		return nil, fmt.Errorf("%w; and %w", err, byKvno)
	}
	return []protocol.Credential{ticket}, nil
}

func (r *Realms) ticket(ctx context.Context, tgt protocol.Credential, want Wanted, offset time.Duration) ([]protocol.Credential, error) {
	conf, err := r.profile()
	if err != nil {
		return nil, &Unreachable{string(tgt.Server.Realm), err}
	}
	if !tgt.Server.GrantsTickets() {
		return nil, errors.New("the ticket is not a ticket-granting one")
	}
	w := way{realms: r, conf: conf, enctypes: permitted(conf), offset: offset, tgt: tgt, passed: []string{realmOf(tgt)}}
	if target := string(want.Server.Realm); target != "" && target != w.realm() {
		if err := w.goTo(ctx, target); err != nil {
			return nil, err
		}
	}
	ticket, err := w.ticket(ctx, want)
	if err != nil {
		return nil, err
	}
	return append(w.got, ticket), nil
}

// realmOf returns the realm whose KDC takes a TGT.
func realmOf(tgt protocol.Credential) string { return string(tgt.Server.Components[1]) }

// way is the way to a service through realms.
type way struct {
	realms   *Realms
	conf     *profile.Profile
	enctypes []int32
	offset   time.Duration
	tgt      protocol.Credential   // of the realm where it has come to
	got      []protocol.Credential // TGTs on the way
	passed   []string
}

func (w *way) realm() string { return realmOf(w.tgt) }

// step goes to the next realm by a TGT that was given for it.
func (w *way) step(tgt protocol.Credential) error {
	next := realmOf(tgt)
	if slices.Contains(w.passed, next) || len(w.passed) > maxHops {
		return useless(fmt.Errorf("it refers from realm %s to %s, after %q", w.realm(), next, w.passed))
	}
	w.tgt, w.got, w.passed = tgt, append(w.got, tgt), append(w.passed, next)
	return nil
}

// goTo gets a TGT of a realm. Where the present realm does not know it, realms
// between them are tried, the farthest first (RFC 4120 §1.2, krb5.conf "capaths").
func (w *way) goTo(ctx context.Context, target string) error {
	between := path(w.conf, w.realm(), target)
	for w.realm() != target {
		next, err := w.nextRealm(ctx, append(between, target))
		if err != nil {
			return err
		}
		if err := w.step(next); err != nil {
			return err
		}
		if i := slices.Index(between, w.realm()); i >= 0 {
			between = between[i+1:]
		}
	}
	return nil
}

// nextRealm asks for a TGT of the last of these realms that the present one
// knows. A KDC may give one of a realm that is on its own way there.
func (w *way) nextRealm(ctx context.Context, candidates []string) (tgt protocol.Credential, err error) {
	for _, candidate := range slices.Backward(candidates) {
		tgt, err = w.ask(ctx, protocol.TGS(candidate, w.realm()), 0, nil)
		if err == nil && !tgt.Server.GrantsTickets() {
			return tgt, useless(errAnotherService)
		}
		var refused *Refused
		if !errors.As(err, &refused) || refused.Code != errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN {
			return tgt, err
		}
	}
	return tgt, err
}

// ticket asks for the service, and follows the realms that KDCs refer to (RFC
// 6806 §8).
func (w *way) ticket(ctx context.Context, want Wanted) (protocol.Credential, error) {
	options := uint32(optionCanonicalize)
	if want.Forwarded {
		options |= optionForwarded
	}
	if want.SecondTicket != nil {
		options |= optionUserToUser
	}
	for {
		server := want.Server
		server.Realm = []byte(w.realm())
		fresh, err := w.ask(ctx, server, options, want.SecondTicket)
		if err != nil {
			return fresh, err
		}
		if fresh.Server.GrantsTickets() && !server.GrantsTickets() {
			if err := w.step(fresh); err != nil {
				return fresh, err
			}
			continue
		}
		if server.GrantsTickets() && !fresh.Server.Equal(server) {
			return fresh, useless(errAnotherService)
		}
		fresh.Server = want.Server
		if want.SecondTicket != nil {
			fresh.IsSkey, fresh.SecondTicket = 1, want.SecondTicket
		}
		return fresh, nil
	}
}

// ask makes one request to the present realm's KDCs.
func (w *way) ask(ctx context.Context, server protocol.Principal, options uint32, second []byte) (protocol.Credential, error) {
	body := messages.KDCReqBody{
		KDCOptions: optionsOf(w.tgt.TicketFlags&keptFlags | options),
		Realm:      w.realm(),
		SName:      nameOf(server),
		Till:       time.Unix(int64(w.tgt.Times.End), 0).UTC(),
		EType:      w.enctypes,
	}
	if second != nil {
		var ticket messages.Ticket
		if err := guarded(func() error { return ticket.Unmarshal(second) }); err != nil {
			return protocol.Credential{}, fmt.Errorf("the second ticket is none: %w", err)
		}
		body.AdditionalTickets = []messages.Ticket{ticket}
	}
	request, err := newTGSRequest(w.tgt, w.realms.now().Add(w.offset), body)
	if err != nil {
		return protocol.Credential{}, fmt.Errorf("no ticket can be asked for: %w", err)
	}
	var fresh protocol.Credential
	err = w.realms.exchange(ctx, w.realm(), request.encoded, func(reply []byte) (err error) {
		fresh, err = request.accept(reply)
		return err
	})
	return fresh, err
}
