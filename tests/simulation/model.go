package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"
)

// action is what a client asks for.
type action int

const (
	initialize action = iota
	store
	destroy
	list
	newName
	actions // how many there are
)

var actionNames = [actions]string{"initialize", "store", "destroy", "list", "make up a name"}

// request is one request of a client.
type request struct {
	uid    uint32
	action action
	cache  string
	ticket int   // of a store: its number
	end    int64 // of a store: when the ticket expires, in seconds since 1970
	tgt    bool  // of a store: the ticket is a ticket-granting one, which is renewed

	session int  // the login session that the client is in; 0: none
	over    int  // the user's last session that is over, with all before it
	binds   bool // a cache that is made ends with the session
}

// kind is what a client was told.
type kind int

const (
	done    kind = iota
	missing      // there is no such cache
	refused      // nothing was changed
	unknown      // an error, or no answer: it may have been done or not
)

var kindNames = [...]string{"done", "missing", "refused", "unknown"}

// answer is what became of a request.
type answer struct {
	kind    kind
	tickets string // of a list: the numbers, in order
	name    string // that was made up
	at      int64  // when it came, in seconds since 1970
	settled bool   // the server has had the time to end all that ends
}

// held is a ticket in a cache.
type held struct {
	number int
	end    int64
	tgt    bool
}

// renewals is what a renewal adds to the number of a ticket.
const renewals = 1000

// content is what a cache has, and the session that it ends with.
type content struct {
	tickets []held
	session int  // 0: none
	ended   bool // its tickets have expired, and it was the default cache
}

// model is a user's caches as KCM promises them: the reference that decides
// whether an answer can be right. A model is never changed.
type model map[string]content

func (m model) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s:%s/%d,%v ", name, numbers(m[name].tickets), m[name].session, m[name].ended)
	}
	return b.String()
}

func numbers(tickets []held) string {
	var b strings.Builder
	for _, t := range tickets {
		fmt.Fprintf(&b, "%d,", t.number)
	}
	return b.String()
}

func (m model) with(cache string, tickets []held, session int) model {
	next := maps.Clone(m)
	next[cache] = content{tickets: tickets, session: session}
	return next
}

func (m model) without(cache string) model {
	next := maps.Clone(m)
	delete(next, cache)
	return next
}

// step returns the states that a user's caches may be in after an answer to a
// request; none if the answer cannot be right.
func (m model) step(r request, a answer) []model {
	var after []model
	if r.action == newName {
		r.cache = a.name
	}
	for _, now := range m.left(r, a) {
		has, there := now[r.cache]
		switch {
		case a.kind == refused:
			after = append(after, now)
		case a.kind == missing:
			if !there && r.action != initialize && r.action != newName {
				after = append(after, now)
			}
		case r.action == newName: // it makes nothing
			if a.kind == unknown || !there {
				after = append(after, now)
			}
		case r.action == list:
			if a.kind == unknown {
				after = append(after, now)
			} else if seen, same := renewed(has.tickets, a.tickets); there && same {
				has.tickets = seen
				next := maps.Clone(now)
				next[r.cache] = has
				after = append(after, next)
			}
		default:
			if a.kind == unknown {
				after = append(after, now)
			}
			if next, can := now.change(r); can {
				after = append(after, next)
			}
		}
	}
	return after
}

// change makes a change, if it can be made.
func (m model) change(r request) (next model, can bool) {
	has, there := m[r.cache]
	switch {
	case r.action == initialize:
		session := 0
		if r.binds && !there || r.session == has.session {
			session = r.session
		}
		return m.with(r.cache, nil, session), true
	case !there:
		return m, false
	case r.action == destroy:
		return m.without(r.cache), true
	}
	fresh := held{r.ticket, r.end, r.tgt}
	tickets := slices.Clone(has.tickets)
	if i := slices.IndexFunc(tickets, func(t held) bool { return t.tgt && r.tgt }); i >= 0 {
		tickets[i] = fresh // a login takes the place of the one before it
		return m.with(r.cache, tickets, has.session), true
	}
	return m.with(r.cache, append(tickets, fresh), has.session), true
}

// left returns what may be left of the cache that a request is about when it is
// answered: it may have ended with its session, or have been purged.
func (m model) left(r request, a answer) []model {
	session := m[r.cache].session
	if session == 0 || session > r.over {
		return m.purged(r.cache, a.at)
	}
	gone := m.without(r.cache)
	if a.settled {
		return []model{gone}
	}
	return append(m.purged(r.cache, a.at), gone)
}

// renewed reports whether a list shows tickets, of which some were renewed since
// they were seen last, and returns them as they are shown. A renewed ticket is
// never seen as it was before.
func renewed(tickets []held, shown string) (now []held, same bool) {
	now = slices.Clone(tickets)
	for i := range now {
		number, rest, found := strings.Cut(shown, ",")
		n, err := strconv.Atoi(number)
		if !found || err != nil {
			return nil, false
		}
		more := n - now[i].number
		if more != 0 && (!now[i].tgt || more < 0 || more%renewals != 0) {
			return nil, false
		}
		now[i].number, shown = n, rest
	}
	return now, shown == ""
}

// purged returns what may be left of a cache at a time: what has expired may be
// removed, in the order in which it expired, and the cache when its lifetime is
// over: that of its ticket-granting ticket, or of all others. The default cache
// is emptied instead. A ticket that was renewed may be there for longer.
func (m model) purged(cache string, at int64) []model {
	states := []model{m}
	tickets, session := m[cache].tickets, m[cache].session
	if m[cache].ended {
		return append(states, m.without(cache)) // another is the default
	}
	if len(tickets) == 0 {
		return states
	}
	tgt := slices.IndexFunc(tickets, func(t held) bool { return t.tgt })
	line := slices.MaxFunc(tickets, func(a, b held) int { return int(a.end - b.end) })
	if tgt >= 0 {
		line = tickets[tgt]
	}
	ends := map[int64]bool{}
	for _, t := range tickets {
		if t.end <= at {
			ends[t.end] = true
		}
	}
	for end := range ends {
		left := slices.DeleteFunc(slices.Clone(tickets), func(t held) bool { return t.end <= end && t != line })
		states = append(states, m.with(cache, left, session))
	}
	if line.end <= at {
		emptied := m.with(cache, nil, session)
		emptied[cache] = content{session: session, ended: true}
		states = append(states, emptied, m.without(cache))
	}
	return states
}

// linearizable reports whether the answers to one user's requests can be those
// of a server that does one after the other, each between the time it was asked
// and the time it answered.
func linearizable(history []porcupine.Operation) bool {
	m := porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			users := map[uint32][]porcupine.Operation{}
			for _, o := range history {
				uid := o.Input.(request).uid
				users[uid] = append(users[uid], o)
			}
			return slices.Collect(maps.Values(users))
		},
		Init: func() []any { return []any{model{}} },
		Step: func(state, input, output any) []any {
			var after []any
			for _, next := range state.(model).step(input.(request), output.(answer)) {
				after = append(after, next)
			}
			return after
		},
		Equal: func(a, b any) bool { return a.(model).String() == b.(model).String() },
	}
	return porcupine.CheckOperations(m.ToModel(), history)
}
