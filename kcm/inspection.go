package kcm

import (
	"context"
	"maps"
	"slices"
	"time"

	"gosssd/sbus"
)

// The methods of the bus that show what there is. Nothing of a ticket's key is
// among it.
const (
	cacheOwners   = "CacheOwners"
	cachesOf      = "CachesOf"
	renewalStatus = "RenewalStatus"
)

// Listed is what CachesOf returns of one cache. Times are seconds since 1970 by
// this machine's clock; 0 is none.
type Listed struct {
	Name      string
	Principal string // "" as long as there is none
	Default   bool
	End       int64  // of its ticket-granting ticket
	RenewTill int64  // of the same; 0 if it cannot be renewed
	NextTry   int64  // when the server renews it; 0 if it does not
	LastTry   int64  // when the server tried it last
	Result    string // of that try; "" if it went well
	Code      int32  // of the KDC's refusal; 0 if it was none
}

const listedType = "(ssbxxxxsi)"

func inspectionMethods() []sbus.Method {
	return []sbus.Method{
		{Name: cacheOwners, Out: []sbus.Arg{{Name: "uids", Type: "au"}}},
		{Name: cachesOf, In: []sbus.Arg{{Name: "uid", Type: "u"}}, Out: []sbus.Arg{{Name: "caches", Type: "a" + listedType}}},
		{Name: renewalStatus, Out: []sbus.Arg{
			{Name: "on", Type: "b"}, {Name: "tickets", Type: "u"}, {Name: "next", Type: "x"}, {Name: "totals", Type: "a{st}"},
			{Name: "realm", Type: "s"}, {Name: "asked", Type: "u"}, {Name: "resume", Type: "x"},
		}},
	}
}

// inspection answers those methods; ok is false for all others.
func (s *Server) inspection(ctx context.Context, method string, args []any) (results []any, ok bool, err error) {
	switch method {
	case cacheOwners:
		uids, err := s.owners(ctx)
		return []any{uids}, true, err
	case cachesOf:
		list, err := s.list(ctx, args[0].(uint32))
		return []any{list}, true, err
	case renewalStatus:
		return s.renewing.status(), true, nil
	}
	return nil, false, nil
}

// owners returns who has, or may have, caches. Some may have destroyed theirs.
func (s *Server) owners(ctx context.Context) ([]uint32, error) {
	everyone, err := s.users.everyone(ctx)
	if err != nil {
		return nil, err
	}
	uids := map[uint32]bool{}
	for _, c := range everyone {
		uids[c.uid] = true
	}
	return slices.Sorted(maps.Keys(uids)), nil
}

// list describes the caches of a user in their order.
func (s *Server) list(ctx context.Context, uid uint32) (list []Listed, err error) {
	list = []Listed{}
	err = s.inspect(ctx, s.users.of(uid), func(state *state) error {
		for _, c := range state.caches {
			list = append(list, s.listed(uid, c, c == state.defaultCache()))
		}
		return nil
	})
	return list, err
}

func (s *Server) listed(uid uint32, c *cache, isDefault bool) Listed {
	l := Listed{Default: isDefault}
	l.Name, l.Principal = c.texts()
	tgt := c.tgt()
	if tgt == nil {
		return l
	}
	l.End = int64(tgt.Times.End) - int64(c.offset)
	if cred := c.renewable(); cred == tgt {
		l.RenewTill = int64(tgt.Times.RenewTill) - int64(c.offset)
	}
	if s.renewing == nil {
		return l
	}
	if state, known := s.renewing.State(uid, c.id, tgt.seq); known {
		l.NextTry, l.LastTry, l.Result, l.Code = unix(state.Next), unix(state.Last), state.Result, state.Code
	}
	return l
}

// tgt returns the ticket-granting ticket that is renewed, or else the first of
// the cache's own realm, or nil.
func (c *cache) tgt() *credential {
	if cred := c.renewable(); cred != nil {
		return cred
	}
	for i := range c.entries {
		if cred := c.entries[i].credential; isOwnTGT(cred) {
			return cred
		}
	}
	return nil
}

// status is the result of renewalStatus.
func (r *renewing) status() []any {
	if r == nil {
		return []any{false, uint32(0), int64(0), map[string]uint64{}, "", uint32(0), int64(0)}
	}
	sum := r.Summary()
	totals := map[string]uint64{
		"renewed": sum.Renewed, "refused": sum.Refused, "unanswered": sum.Unanswered,
		"overtaken": sum.Overtaken, "failed": sum.Failed,
	}
	return []any{true, uint32(sum.Tickets), unix(sum.Next), totals, sum.Realm, uint32(sum.Asked), unix(sum.Resume)}
}

// unix returns seconds since 1970, and 0 for no time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
