package kcm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"gosssd/kcm/obtain"
	"gosssd/kcm/protocol"
	"gosssd/responder/metric"
)

// Wanted says which ticket a KDC is asked for.
type Wanted struct {
	Server       protocol.Principal // without a realm: wherever KDCs refer to
	SecondTicket []byte             // in whose session key it is to be sealed (user-to-user); nil: in the service's
	Forwarded    bool               // a ticket-granting ticket for another host
}

// Tickets talks to KDCs. Of an error of theirs, a method KDCCode() int32 says
// that a KDC refused, and SilentRealm() string that none of a realm answered.
type Tickets interface {
	// Ticket gets a ticket by means of tgt. Before it, those that were needed on
	// the way may stand. offset is how far the KDCs' clocks are ahead.
	Ticket(ctx context.Context, tgt protocol.Credential, want Wanted, offset time.Duration) ([]protocol.Credential, error)
	// Initial gets the first ticket of a client by its own key.
	Initial(ctx context.Context, client, server protocol.Principal, key protocol.Keyblock, offset time.Duration) (protocol.Credential, error)
}

// obtaining is the part of a Server that gets tickets for clients.
type obtaining struct {
	*obtain.Group[*credential]
	kdc    Tickets
	server *Server

	got, refused, unanswered atomic.Uint64
}

// What clients have to bear at most: those of MIT wait for as long as it takes,
// their users do not.
var obtainOptions = obtain.Options{
	Timeout: 5 * time.Second, Refused: 10 * time.Second, Away: 30 * time.Second, InFlight: 24, OfOne: 8,
}

func newObtaining(s *Server, kdc Tickets) *obtaining {
	return &obtaining{Group: obtain.New[*credential](obtainOptions), kdc: kdc, server: s}
}

func (o *obtaining) close() {
	if o != nil {
		o.Close()
	}
}

// metrics tells of the tickets that were asked for.
func (o *obtaining) metrics() []metric.Family {
	if o == nil {
		return nil
	}
	return []metric.Family{{Name: "gosssd_kcm_obtained_tickets", Kind: metric.Counter, Help: "Tickets for services that KDCs were asked for, by what came of it", Samples: []metric.Sample{
		metric.Total("got", "tickets got", o.got.Load()), metric.Total("refused", "tickets refused", o.refused.Load()),
		metric.Total("unanswered", "tickets unanswered", o.unanswered.Load()),
	}}}
}

// obtain gets a ticket for which RETRIEVE came and which the cache lacks. Where
// there is none to be got, it is as if nobody had asked, so that the client's
// library tries itself. Where the library cannot, because the key is guarded, the
// KDC's refusal is the client's.
func (s *session) obtain(ctx context.Context, owner *collection, c *cache, tag *protocol.Credtag, flags protocol.Flags) (*credential, error) {
	forward := s.forwards(tag, flags)
	if s.server.obtaining == nil || !forward && !obtainable(c, tag, flags) {
		return nil, errNoneFound
	}
	tgt := c.granting(tag.Server.Realm, s.server.now())
	if tgt == nil {
		return nil, errNoneFound
	}
	want := Wanted{Server: tag.Server.Clone(), SecondTicket: bytes.Clone(tag.SecondTicket), Forwarded: forward}
	cred, err := s.server.obtaining.ticket(ctx, s, owner, c, tgt, want)
	switch {
	case err == nil && tag.Matches(&cred.Credential, flags):
		return cred, nil
	case err != nil && s.guards(tgt):
		return nil, err
	}
	return nil, errNoneFound
}

// obtainable reports whether a KDC could have what a client looks for: a ticket
// for a service, of the cache's own client. For authorization data of its own a
// client must ask itself.
func obtainable(c *cache, tag *protocol.Credtag, flags protocol.Flags) bool {
	userToUser := flags&protocol.MatchSecond != 0
	return tag.Present&protocol.HasServer != 0 && len(tag.Server.Components) > 0 &&
		!tag.Server.IsConfig() && !tag.Server.GrantsTickets() &&
		(tag.Present&protocol.HasClient == 0 || c.belongsTo(tag.Client)) &&
		len(tag.AuthData) == 0 && userToUser == (tag.IsSkey != 0) && userToUser == (len(tag.SecondTicket) > 0)
}

// flagForwarded is a flag of tickets (RFC 4120 §2.6).
const flagForwarded = 0x20000000

// forwards reports whether a client looks for a TGT to hand to another host, and
// may have it.
func (s *session) forwards(tag *protocol.Credtag, flags protocol.Flags) bool {
	return s.server.forwards && tag.Present&protocol.HasServer != 0 && tag.Server.IsTGS() &&
		flags&protocol.MatchFlags != 0 && tag.TicketFlags&flagForwarded != 0
}

// belongsTo reports whether a cache is of this principal.
func (c *cache) belongsTo(p protocol.Principal) bool {
	if c.principal == nil {
		return false
	}
	r := protocol.NewReader(c.principal)
	return r.Principal().Equal(p)
}

// granting returns the TGT with which a ticket for a service of a realm is got:
// that of the realm itself, or of the client's own.
func (c *cache) granting(realm []byte, now time.Time) (tgt *credential) {
	for i := range c.entries {
		cred := c.entries[i].credential
		if !cred.Server.GrantsTickets() || c.ends(cred) <= now.Unix() || len(cred.Key.Key) == 0 {
			continue
		}
		if string(cred.Server.Components[1]) == string(realm) {
			return cred
		}
		if tgt == nil && isOwnTGT(cred) {
			tgt = cred
		}
	}
	return tgt
}

// exchange is one with a KDC, for a cache.
type exchange struct {
	owner   *collection
	cache   *cache
	key     obtain.Key
	realm   string // whose KDCs are asked first
	service protocol.Principal
	get     func(context.Context) (*credential, error)
}

// ticket gets a ticket and stores it in the cache of tgt.
func (o *obtaining) ticket(ctx context.Context, s *session, owner *collection, c *cache, tgt *credential, want Wanted) (*credential, error) {
	forwarded := []byte{0}
	if want.Forwarded {
		forwarded[0] = 1
	}
	x := exchange{owner: owner, cache: c, realm: string(tgt.Server.Components[1]), service: want.Server}
	x.key = obtain.KeyOf(binary.BigEndian.AppendUint32(nil, owner.uid), c.id[:], tgt.Ticket,
		protocol.AppendPrincipal(nil, want.Server), want.SecondTicket, forwarded)
	x.get = func(ctx context.Context) (*credential, error) {
		got, err := o.kdc.Ticket(ctx, tgt.Credential, want, time.Duration(c.offset)*time.Second)
		if err != nil {
			return nil, err
		}
		if want.Forwarded { // it is for elsewhere
			return newCredential(got[len(got)-1])
		}
		return o.keep(ctx, owner, c.id, got, func(c *cache) bool { return c.sameLogin(tgt) })
	}
	return o.run(ctx, s, x)
}

// initial gets the first ticket of a cache's principal by its key.
func (o *obtaining) initial(ctx context.Context, s *session, owner *collection, c *cache, server protocol.Principal, secret protocol.Keyblock) (*credential, error) {
	r := protocol.NewReader(c.principal)
	client := r.Principal()
	if server.Components == nil {
		server = protocol.TGS(string(client.Realm), string(client.Realm))
	}
	x := exchange{owner: owner, cache: c, realm: string(client.Realm), service: server}
	digest := sha256.Sum256(secret.Key)
	x.key = obtain.KeyOf(binary.BigEndian.AppendUint32(nil, owner.uid), c.id[:], c.principal, protocol.AppendPrincipal(nil, server), digest[:])
	x.get = func(ctx context.Context) (*credential, error) {
		got, err := o.kdc.Initial(ctx, client, server, secret, time.Duration(c.offset)*time.Second)
		if err != nil {
			return nil, err
		}
		return o.keep(ctx, owner, c.id, []protocol.Credential{got}, func(c *cache) bool { return c.belongsTo(client) })
	}
	return o.run(ctx, s, x)
}

// run has a KDC asked, tells of it and counts it, each once for all who wait.
func (o *obtaining) run(ctx context.Context, s *session, x exchange) (*credential, error) {
	cred, first, err := o.Do(ctx, x.owner.uid, x.key, x.realm, x.get)
	var refused interface{ KDCCode() int32 }
	switch {
	case !first:
	case err == nil:
		o.got.Add(1)
		s.tellObtained(x.owner, x.cache, cred)
	case errors.As(err, &refused):
		o.refused.Add(1)
		s.logNotObtained(hclog.Info, x.service, err)
	default:
		o.unanswered.Add(1)
		s.logNotObtained(hclog.Warn, x.service, err)
	}
	if errors.Is(err, errBegunAnew) {
		return nil, errNoneFound
	}
	if err != nil {
		return nil, &unobtained{err}
	}
	return cred, nil
}

// sameLogin reports whether a cache has a TGT of the login that this one is of,
// be it renewed meanwhile.
func (c *cache) sameLogin(tgt *credential) bool {
	return slices.ContainsFunc(c.entries, func(e entry) bool {
		return e.Server.GrantsTickets() && e.Times.Auth == tgt.Times.Auth && e.Client.Equal(tgt.Client)
	})
}

// errBegunAnew says that the cache is of another login now.
var errBegunAnew = errors.New("the cache was begun anew meanwhile")

// keep stores what was got, and returns the last of it, which is for the client.
// That is done even if it cannot be stored; not where the cache has become
// somebody else's.
func (o *obtaining) keep(ctx context.Context, owner *collection, id protocol.UUID, got []protocol.Credential, still func(*cache) bool) (*credential, error) {
	creds := make([]*credential, len(got))
	for i, fresh := range got {
		cred, err := newCredential(fresh)
		if err != nil {
			return nil, err
		}
		creds[i] = cred
	}
	last := creds[len(creds)-1]
	err := owner.changeCache(ctx, id, func(e *edit, c *cache) error {
		if !still(c) {
			return errBegunAnew
		}
		for _, cred := range creds {
			c = e.store(c, cred)
		}
		next, err := o.server.fit(e, c)
		if err != nil {
			return err
		}
		e.notify(changed, next)
		return nil
	})
	switch {
	case errors.Is(err, errNoCache):
		return nil, errBegunAnew
	case errors.Is(err, errBegunAnew):
		return nil, err
	case err != nil:
		o.server.users.log.Warn("a ticket that was got is not stored", "uid", owner.uid, "service", last.Server, "error", err)
	}
	return last, nil
}

// unobtained says why a ticket could not be got.
type unobtained struct{ err error }

func (u *unobtained) Error() string { return "no ticket could be got: " + u.err.Error() }
func (u *unobtained) Unwrap() error { return u.err }

// code returns what a client is told of it.
func (u *unobtained) code() protocol.Code {
	var refused interface{ KDCCode() int32 }
	switch {
	case errors.As(u.err, &refused):
		return protocol.OfKDC(refused.KDCCode())
	case errors.Is(u.err, obtain.ErrBusy):
		return protocol.Busy
	}
	return protocol.Unreachable
}
