package kcm

import (
	"cmp"
	"slices"
	"strconv"

	"gosssd/kcm/protocol"
	"gosssd/responder/metric"
	"gosssd/sbus"
)

// usage is what a user has.
type usage struct {
	caches, credentials int
	bytes               int64 // of the records
	weight              int64 // in memory
	largest             int64 // bytes of the largest cache
	longest             int   // credentials of the cache with most

	used map[protocol.UUID]int64 // when a client named a cache last; only of what left memory
}

func (s *state) usage() *usage {
	u := &usage{caches: len(s.caches)}
	for _, c := range s.caches {
		u.credentials += len(c.entries)
		u.bytes += c.size
		u.weight += c.weight()
		u.largest = max(u.largest, c.size)
		u.longest = max(u.longest, len(c.entries))
	}
	return u
}

func (u *usage) add(more *usage) {
	u.caches += more.caches
	u.credentials += more.credentials
	u.bytes += more.bytes
	u.weight += more.weight
}

// leave is the usage of a state that leaves memory.
func (s *state) leave() *usage {
	u := s.usage()
	for _, c := range s.caches {
		if at := c.used.Load(); at != 0 {
			if u.used == nil {
				u.used = make(map[protocol.UUID]int64, len(s.caches))
			}
			u.used[c.id] = at
		}
	}
	return u
}

// comeBack tells a state that was loaded when its caches were used before.
func (u *usage) comeBack(s *state) {
	if u == nil {
		return
	}
	for _, c := range s.caches {
		c.used.Store(u.used[c.id])
	}
}

// usage returns what the user has, as far as it is known without the store: what
// is in memory, or was when it left. known is false for one who has not called
// since the start.
func (c *collection) usage() (u usage, known bool) {
	if s := c.published.Load(); s != nil {
		return *s.usage(), true
	}
	if left := c.left.Load(); left != nil {
		return *left, true
	}
	return usage{}, false
}

// fullness is which part of a limit is used, of the limit that is nearest, and
// its name.
func (set *settings) fullness(u usage) (part float64, limit string) {
	look := func(used, most int64, name string) {
		if most > 0 && float64(used)/float64(most) > part {
			part, limit = float64(used)/float64(most), name
		}
	}
	look(int64(u.caches), int64(set.maxUserCaches), "max_uid_ccaches")
	look(u.weight, set.maxUserSize, "max_uid_ccache_size")
	look(u.largest, set.maxCacheSize, "max_ccache_size")
	look(int64(u.longest), int64(set.maxCredentials), "max_ccache_credentials")
	return part, limit
}

// The method of the bus that tells what each user has and asks for.
const userUsage = "UserUsage"

// Used is what UserUsage returns of one user. It counts requests since the start
// of the process.
type Used struct {
	UID         uint32
	Caches      uint64
	Credentials uint64
	Bytes       uint64 // of the credentials and the caches' own records
	Memory      uint64 // bytes that they take in memory
	Requests    uint64
	Unserved    uint64  // of these, refused or failed
	Fullness    float64 // which part of the nearest limit is used
	Limit       string  // the option that sets it; "" if nothing is used
}

const usedType = "(uttttttds)"

// mostUsers is how many users UserUsage tells of, so that its answer is one
// message.
const mostUsers = 8000

func usageMethods() []sbus.Method {
	return []sbus.Method{{Name: userUsage,
		In:  []sbus.Arg{{Name: "order", Type: "s"}, {Name: "most", Type: "u"}},
		Out: []sbus.Arg{{Name: "known", Type: "u"}, {Name: "users", Type: "a" + usedType}}}}
}

// The orders of UserUsage, each with the greatest first.
var usageOrders = map[string]func(u *Used) float64{
	"fullness": func(u *Used) float64 { return u.Fullness },
	"bytes":    func(u *Used) float64 { return float64(u.Bytes) },
	"caches":   func(u *Used) float64 { return float64(u.Caches) },
	"requests": func(u *Used) float64 { return float64(u.Requests) },
	"unserved": func(u *Used) float64 { return float64(u.Unserved) },
}

// usage answers that method; ok is false for all others.
func (s *Server) usage(method string, args []any) (results []any, ok bool, err error) {
	if method != userUsage {
		return nil, false, nil
	}
	order, most := args[0].(string), args[1].(uint32)
	by := usageOrders[order]
	if by == nil {
		return nil, true, sbus.Errorf(sbus.ErrorInvalidArgs, "there is no order %q; it is fullness, bytes, caches, requests or unserved", order)
	}
	all := s.used()
	known := len(all)
	return []any{uint32(known), top(all, int(min(most, mostUsers)), by)}, true, nil
}

// used returns what is known of every user who has caches or has asked for something.
func (s *Server) used() []Used {
	set := s.settings.Load()
	list := []Used{}
	for _, c := range s.users.all() {
		u, _ := c.usage()
		one := Used{UID: c.uid, Caches: uint64(u.caches), Credentials: uint64(u.credentials), Bytes: uint64(u.bytes), Memory: uint64(u.weight),
			Requests: c.requests.Load(), Unserved: c.unserved.Load()}
		if one.Caches == 0 && one.Requests == 0 {
			continue
		}
		one.Fullness, one.Limit = set.fullness(u)
		list = append(list, one)
	}
	return list
}

// top returns the greatest of a list, at most so many, in order.
func top(list []Used, most int, by func(*Used) float64) []Used {
	slices.SortFunc(list, func(a, b Used) int {
		return cmp.Or(cmp.Compare(by(&b), by(&a)), cmp.Compare(a.UID, b.UID))
	})
	return list[:min(most, len(list))]
}

// fullestUsers is how many users have metrics of their own.
const fullestUsers = 10

// fullest tells of the users who are nearest to a limit. Others have no metrics of
// their own: there may be any number of them.
func (s *Server) fullest() []metric.Family {
	fullness := metric.Family{Name: "gosssd_kcm_user_fullness_ratio", Kind: metric.Gauge, Unit: metric.Ratio,
		Help: "Which part of a limit is used, of the users who are nearest to one"}
	caches := metric.Family{Name: "gosssd_kcm_user_caches", Kind: metric.Gauge, Help: "Caches of these users"}
	size := metric.Family{Name: "gosssd_kcm_user_memory_bytes", Kind: metric.Gauge, Unit: metric.Bytes, Help: "What the caches of these users take in memory"}
	for _, u := range top(s.used(), fullestUsers, usageOrders["fullness"]) {
		uid := strconv.FormatUint(uint64(u.UID), 10)
		fullness.Samples = append(fullness.Samples, metric.Of(u.Fullness, "uid", uid, "limit", u.Limit))
		caches.Samples = append(caches.Samples, metric.Of(float64(u.Caches), "uid", uid))
		size.Samples = append(size.Samples, metric.Of(float64(u.Memory), "uid", uid))
	}
	return []metric.Family{fullness, caches, size}
}
