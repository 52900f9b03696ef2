package kcm

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/kcm/renewal"
	"gosssd/responder/metric"
)

// flagRenewable is a flag of tickets (RFC 4120 §2.3).
const flagRenewable = 0x00800000

// renewing is the part of a Server that renews tickets. It implements
// renewal.Keeper and renewal.Log.
type renewing struct {
	*renewal.Renewer
	server *Server
}

// newRenewing returns nil where tickets are not to be renewed.
func newRenewing(s *Server, kdc renewal.KDC, options renewal.Options) *renewing {
	r := &renewing{server: s}
	r.Renewer = renewal.New(r, kdc, r, options)
	return r
}

// learn is told every state of a user that is loaded or published.
func (r *renewing) learn(uid uint32, s *state) {
	if r == nil {
		return
	}
	var tickets []renewal.Ticket
	for _, c := range s.caches {
		if cred := c.renewable(); cred != nil {
			tickets = append(tickets, r.ticket(uid, c, cred))
		}
	}
	r.Learn(uid, tickets)
}

func (r *renewing) ticket(uid uint32, c *cache, cred *credential) renewal.Ticket {
	local := func(kdcs uint32) time.Time { return time.Unix(int64(kdcs)-int64(c.offset), 0) }
	return renewal.Ticket{
		UID: uid, Cache: c.id, Credential: cred.seq, Name: c.name, Principal: shortened(cred.Client.String()), Realm: string(cred.Server.Realm),
		Start: local(cred.Times.Begin()), End: local(cred.Times.End), RenewTill: local(cred.Times.RenewTill),
	}
}

// maxShown bounds the texts of a ticket that are kept for people, and maxRealm
// the name of a realm whose KDCs are asked. They are kept for all users, also for
// those whose caches are not in memory, and count for no user's quota.
const (
	maxShown = 256
	maxRealm = 255
)

func shortened(text string) string {
	if len(text) <= maxShown {
		return text
	}
	return strings.ToValidUTF8(text[:maxShown], "") + "…"
}

// renewable returns the ticket-granting ticket of the cache's own realm, if it
// can be renewed; else nil. One without an end is gssproxy's, and no ticket.
func (c *cache) renewable() *credential {
	for i := range c.entries {
		if cred := c.entries[i].credential; cred.TicketFlags&flagRenewable != 0 && cred.Times.End != 0 && isOwnTGT(cred) {
			return cred
		}
	}
	return nil
}

// isOwnTGT reports whether a credential is a ticket-granting ticket of its
// client's realm.
func isOwnTGT(cred *credential) bool {
	return cred.Server.IsTGS() && len(cred.Server.Realm) <= maxRealm && bytes.Equal(cred.Server.Realm, cred.Client.Realm)
}

// stored returns a ticket that is renewed, if it is the one that t speaks of.
func (r *renewing) stored(c *cache, t renewal.Ticket) *credential {
	cred := c.renewable()
	if cred == nil || r.ticket(t.UID, c, cred) != t {
		return nil
	}
	return cred
}

// TGT implements renewal.Keeper.
func (r *renewing) TGT(ctx context.Context, t renewal.Ticket) (tgt protocol.Credential, offset time.Duration, err error) {
	err = r.server.inspect(ctx, r.server.users.of(t.UID), func(s *state) error {
		c := s.byID(t.Cache)
		if c == nil {
			return renewal.ErrGone
		}
		cred := r.stored(c, t)
		if cred == nil {
			return renewal.ErrGone
		}
		tgt, offset = cred.Credential, time.Duration(c.offset)*time.Second
		return nil
	})
	return tgt, offset, err
}

// Replace implements renewal.Keeper: everything else in the cache stays as it
// is, and so do the ticket's place and the default.
func (r *renewing) Replace(ctx context.Context, t renewal.Ticket, old, fresh protocol.Credential) error {
	cred, err := newCredential(fresh)
	if err != nil {
		return err
	}
	owner := r.server.users.of(t.UID)
	return r.server.inspect(ctx, owner, func(*state) error {
		err := owner.changeCache(ctx, t.Cache, func(e *edit, c *cache) error {
			if now := r.stored(c, t); now == nil || !bytes.Equal(now.Ticket, old.Ticket) {
				return renewal.ErrGone
			}
			e.events = append(e.events, event{member: changed, cache: e.store(c, cred), renewed: true})
			return nil
		})
		if errors.Is(err, errNoCache) {
			return renewal.ErrGone
		}
		return err
	})
}

// Renewed implements renewal.Log.
func (r *renewing) Renewed(t renewal.Ticket, fresh protocol.Credential) {
	r.server.users.log.Info("a ticket is renewed", "uid", t.UID, "cache", t.Name, "principal", t.Principal,
		"until", time.Unix(int64(fresh.Times.End), 0).Format(time.RFC3339))
}

// Failed implements renewal.Log.
func (r *renewing) Failed(t renewal.Ticket, err error, next time.Time) {
	again := "not tried again: its owner must call kinit before " + t.End.Format(time.RFC3339)
	switch {
	case !next.IsZero():
		again = next.Format(time.RFC3339)
	case !t.End.After(r.server.now()):
		again = "not tried again: its owner must call kinit"
	}
	r.server.users.log.Warn("a ticket is not renewed", "uid", t.UID, "cache", t.Name, "principal", t.Principal,
		"error", err, "next_try", again)
}

// metrics tells how renewal goes.
func (r *renewing) metrics() []metric.Family {
	if r == nil {
		return nil
	}
	sum := r.Summary()
	return []metric.Family{
		{Name: "gosssd_kcm_renewals", Kind: metric.Counter, Help: "Attempts to renew a ticket, by what became of them", Samples: []metric.Sample{
			metric.Total("renewed", "renewals", sum.Renewed), metric.Total("refused", "renewals refused", sum.Refused),
			metric.Total("unanswered", "renewals unanswered", sum.Unanswered), metric.Total("overtaken", "renewals overtaken", sum.Overtaken),
			metric.Total("failed", "renewals failed", sum.Failed),
		}},
		metric.One(metric.Gauge, "gosssd_kcm_renewable_tickets", "", "renewable tickets", "Tickets that are renewed", float64(sum.Tickets)),
		metric.One(metric.Gauge, "gosssd_kcm_next_renewal_timestamp_seconds", metric.Seconds, "", "When the next ticket is renewed, in seconds since 1970; 0 if none is", metric.Instant(sum.Next)),
		metric.One(metric.Gauge, "gosssd_kcm_kdc_unanswered_requests", "", "", "Requests in a row that the KDCs of a realm have not answered, of the realm with most", float64(sum.Asked)),
	}
}

// owed reports whether there are tickets to renew.
func (r *renewing) owed() bool {
	if r == nil {
		return false
	}
	_, owed := r.Next()
	return owed
}
