package simulation

import (
	"fmt"
	"maps"
	"slices"
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
	actions // how many there are
)

var actionNames = [actions]string{"initialize", "store", "destroy", "list"}

// request is one request of a client.
type request struct {
	uid    uint32
	action action
	cache  string
	ticket int   // of a store: its number
	end    int64 // of a store: when the ticket expires, in seconds since 1970
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
	at      int64  // when it came, in seconds since 1970
}

// held is a ticket in a cache.
type held struct {
	number int
	end    int64
}

// model is a user's caches as KCM promises them: the reference that decides
// whether an answer can be right. A model is never changed.
type model map[string][]held

func (m model) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s:%s ", name, numbers(m[name]))
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

func (m model) with(cache string, tickets []held) model {
	next := maps.Clone(m)
	next[cache] = tickets
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
	for _, now := range m.purged(r.cache, a.at) {
		tickets, there := now[r.cache]
		switch {
		case a.kind == refused:
			after = append(after, now)
		case a.kind == missing:
			if !there && r.action != initialize {
				after = append(after, now)
			}
		case r.action == list:
			if a.kind == unknown || there && numbers(tickets) == a.tickets {
				after = append(after, now)
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
	tickets, there := m[r.cache]
	switch {
	case r.action == initialize:
		return m.with(r.cache, nil), true
	case !there:
		return m, false
	case r.action == destroy:
		return m.without(r.cache), true
	}
	return m.with(r.cache, append(slices.Clone(tickets), held{r.ticket, r.end})), true
}

// purged returns what may be left of a cache at a time: what has expired may be
// removed, in the order in which it expired, and at last the cache. The default
// cache is emptied instead.
func (m model) purged(cache string, at int64) []model {
	states := []model{m}
	tickets := m[cache]
	ends := map[int64]bool{}
	for _, t := range tickets {
		if t.end <= at {
			ends[t.end] = true
		}
	}
	for end := range ends {
		left := slices.DeleteFunc(slices.Clone(tickets), func(t held) bool { return t.end <= end })
		if len(left) > 0 {
			states = append(states, m.with(cache, left))
			continue
		}
		last := slices.MaxFunc(tickets, func(a, b held) int { return int(a.end - b.end) })
		states = append(states, m.with(cache, []held{last}), m.with(cache, nil), m.without(cache))
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
