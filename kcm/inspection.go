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
	UID         uint32
	Name        string
	Principal   string // "" as long as there is none
	Default     bool
	Credentials uint32 // without configuration entries
	Size        uint64 // bytes of its records
	SizeLimit   uint64 // what [kcm] max_ccache_size allows; 0: any
	Used        int64  // when a client named it last; 0: not since the start
	Session     string // the login session that it ends with; "": none
	End         int64  // of its ticket-granting ticket
	RenewTill   int64  // of the same; 0 if it cannot be renewed
	NextTry     int64  // when the server renews it; 0 if it does not
	LastTry     int64  // when the server tried it last
	Result      string // of that try; "" if it went well
	Code        int32  // of the KDC's refusal; 0 if it was none
}

// Unread is a user whose caches CachesOf could not read, and why.
type Unread struct {
	UID    uint32
	Reason string
}

const (
	listedType = "(ussbuttxsxxxxsi)"
	unreadType = "(us)"
)

// page is how many bytes of caches CachesOf tells of at a time, or a little more:
// a message of the bus holds 1 MiB.
const page = 256 << 10

func inspectionMethods() []sbus.Method {
	return []sbus.Method{
		{Name: cacheOwners, Out: []sbus.Arg{{Name: "uids", Type: "au"}}},
		{Name: cachesOf,
			In: []sbus.Arg{{Name: "uids", Type: "au"}, {Name: "skip", Type: "u"}},
			Out: []sbus.Arg{{Name: "caches", Type: "a" + listedType}, {Name: "unread", Type: "a" + unreadType},
				{Name: "done", Type: "u"}, {Name: "told", Type: "u"}}},
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
		p := s.pageOf(ctx, args[0].([]uint32), args[1].(uint32))
		return []any{p.caches, p.unread, p.done, p.told}, true, nil
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

// cachePage is a page of CachesOf.
type cachePage struct {
	caches []Listed
	unread []Unread
	done   uint32 // how many of the users are done with
	told   uint32 // how many caches of the next one were told of
}

// pageOf describes the caches of users in their order, from the first user's
// cache after those to skip, as many as there is room for.
func (s *Server) pageOf(ctx context.Context, uids []uint32, skip uint32) cachePage {
	p := cachePage{caches: []Listed{}, unread: []Unread{}}
	for size := 0; size < page && int(p.done) < len(uids); skip = 0 {
		uid, whole := uids[p.done], true
		err := s.inspect(ctx, s.users.of(uid), func(state *state) error {
			preferred := state.defaultCache()
			for i := min(int(skip), len(state.caches)); i < len(state.caches); i++ {
				if size >= page {
					whole, p.told = false, uint32(i)
					return nil
				}
				c := s.listed(uid, state.caches[i], state.caches[i] == preferred)
				size += 128 + len(c.Name) + len(c.Principal) + len(c.Result)
				p.caches = append(p.caches, c)
			}
			return nil
		})
		if err != nil {
			reason := err.Error()
			p.unread = append(p.unread, Unread{uid, reason})
			size += len(reason)
		}
		if !whole {
			break
		}
		p.done++
	}
	return p
}

func (s *Server) listed(uid uint32, c *cache, isDefault bool) Listed {
	l := Listed{UID: uid, Default: isDefault, Credentials: c.tickets(), Size: uint64(c.size), Used: c.used.Load()}
	l.Name, l.Principal = c.texts()
	l.SizeLimit = uint64(max(0, s.settings.Load().maxCacheSize))
	if c.session != nil {
		l.Session = c.session.Name
	}
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
