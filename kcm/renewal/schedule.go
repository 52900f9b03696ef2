package renewal

import (
	"container/heap"
	"hash/fnv"
	"maps"
	"math"
	"time"

	"gosssd/kcm/protocol"
)

// Ticket is a ticket-granting ticket that can be renewed, by its place and
// its times. Times are those of this machine's clock.
type Ticket struct {
	UID        uint32
	Cache      protocol.UUID
	Credential uint64 // its number in the cache
	Name       string // of the cache; for people, like the next
	Principal  string
	Realm      string // whose KDC is asked
	Start      time.Time
	End        time.Time
	RenewTill  time.Time
}

// place is what a ticket keeps when it is renewed.
type place struct {
	uid        uint32
	cache      protocol.UUID
	credential uint64
}

func (t *Ticket) place() place { return place{t.UID, t.Cache, t.Credential} }

// jitter is the part of half a life by which renewals of tickets that were
// got at the same time are spread.
const jitter = 0.1

// due returns when a ticket is to be renewed: after half of its life, a tenth
// of that earlier or later. It is the same whenever it is asked for.
func (t *Ticket) due() time.Time {
	h := fnv.New64a()
	_, _ = h.Write(t.Cache[:])
	_, _ = h.Write(t.Start.AppendFormat(nil, time.RFC3339))
	spread := 1 + jitter*(2*float64(h.Sum64()>>11)/float64(1<<53)-1)
	return t.Start.Add(time.Duration(float64(t.End.Sub(t.Start)) / 2 * spread))
}

// gains reports whether a renewal can make the ticket live longer.
func (t *Ticket) gains() bool { return t.RenewTill.After(t.End) }

// State is what is known of the renewal of one ticket.
type State struct {
	Next   time.Time // when it is tried next; zero if it is not any more
	Last   time.Time // when it was tried last; zero if never
	Result string    // of the last try: "" if it went well, or why it did not
	Code   int32     // of the KDC's refusal; 0 if it was none
}

// item is a ticket in the schedule.
type item struct {
	Ticket
	State
	at       time.Time // of the next try; in the order of the heap
	index    int       // in the heap; -1 while it is being tried or has been given up
	failures int       // in a row
	dead     bool      // it was past its end when it was looked at last
}

// queue is a heap by time.
type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	it := x.(*item)
	it.index = len(*q)
	*q = append(*q, it)
}

func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = nil
	*q = (*q)[:len(*q)-1]
	last.index = -1
	return last
}

// outage is a realm whose KDCs did not answer. One request at a time finds out
// whether they do again.
type outage struct {
	failures int
	until    time.Time
	probe    *item // is asked for, to find out; nil if none is
}

// schedule knows when which ticket is due. It is guarded by Renewer.mu.
type schedule struct {
	queue   queue
	items   map[place]*item
	users   map[uint32]map[place]bool
	outages map[string]*outage
	trying  map[uint32]int     // tickets of each user that are being tried
	parked  map[uint32][]*item // that are due and wait for others of their user
	lapsed  []Ticket           // that have come to their end since the last look
}

func newSchedule() *schedule {
	return &schedule{items: map[place]*item{}, users: map[uint32]map[place]bool{}, outages: map[string]*outage{}, trying: map[uint32]int{}, parked: map[uint32][]*item{}}
}

// learn replaces what is known of a user. A ticket that is known keeps its
// time and what became of earlier tries.
func (s *schedule) learn(uid uint32, tickets []Ticket, now time.Time) {
	before := s.users[uid]
	after := make(map[place]bool, len(tickets))
	for _, t := range tickets {
		at := t.place()
		known := s.items[at]
		switch {
		case !t.gains():
			continue
		case known != nil && known.Ticket == t:
		default:
			if known != nil {
				s.drop(known)
			}
			s.add(t, known != nil, now)
		}
		after[at] = true
	}
	for at := range before {
		if !after[at] {
			s.drop(s.items[at])
		}
	}
	if len(after) > 0 {
		s.users[uid] = after
	} else {
		delete(s.users, uid)
	}
}

// add plans the renewal of a ticket. One that takes another's place is not
// renewed at once, whatever times the KDC has given it: a KDC that gives only
// what is due already would be asked without end.
func (s *schedule) add(t Ticket, again bool, now time.Time) {
	it := &item{Ticket: t, dead: !t.End.After(now)}
	at := t.due()
	if soonest := now.Add(max(t.End.Sub(now)/4, probeTime)); again && at.Before(soonest) {
		at = soonest
	}
	s.items[t.place()] = it
	s.put(it, at)
}

func (s *schedule) drop(it *item) {
	delete(s.items, it.place())
	if it.index >= 0 {
		heap.Remove(&s.queue, it.index)
	}
}

// put sets the time of the next try.
func (s *schedule) put(it *item, at time.Time) {
	it.at, it.Next = at, at
	heap.Push(&s.queue, it)
}

// busy reports whether tickets are being tried.
func (s *schedule) busy() bool { return len(s.trying) > 0 }

// next returns when the next ticket is due; zero if none is.
func (s *schedule) next() (next time.Time) {
	for _, it := range s.queue {
		if !it.dead && (next.IsZero() || it.at.Before(next)) {
			next = it.at
		}
	}
	return next
}

// take returns the next ticket that is due, or nil and how long to wait; with
// nothing to wait for that is the longest there is. A ticket of a realm that
// does not answer waits for the end of the outage. One that is past its end
// is looked at now and then: the clock may have been wrong.
func (s *schedule) take(now time.Time) (*item, time.Duration) {
	for len(s.queue) > 0 {
		first := s.queue[0]
		if wait := first.at.Sub(now); wait > 0 {
			return nil, min(wait, lookTime)
		}
		heap.Pop(&s.queue)
		if !first.End.After(now) {
			s.lapse(first, now)
			continue
		}
		if first.dead {
			first.dead, first.Result = false, ""
		}
		out := s.outages[first.Realm]
		switch {
		case s.trying[first.UID] == triesOfUser:
			s.parked[first.UID] = append(s.parked[first.UID], first)
			continue
		case out != nil && (now.Before(out.until) || out.probe != nil):
			s.put(first, later(now, out.until))
			continue
		case out != nil:
			out.probe = first
		}
		s.trying[first.UID]++
		return first, 0
	}
	return nil, math.MaxInt64
}

// lapse puts a ticket aside that is past its end.
func (s *schedule) lapse(it *item, now time.Time) {
	s.put(it, now.Add(lookTime))
	it.Next = time.Time{}
	if it.dead {
		return
	}
	it.dead = true
	if it.Result == "" { // else it was told what keeps it from being renewed
		it.Result = errLapsed.Error()
		s.lapsed = append(s.lapsed, it.Ticket)
	}
}

// setBack moves what is tried again after a pause, when the wall clock was set
// back: pauses do not become longer by that.
func (s *schedule) setBack(by time.Duration) {
	for _, it := range s.queue {
		if !it.Last.IsZero() || it.dead {
			it.at = it.at.Add(-by)
			if !it.Next.IsZero() {
				it.Next = it.at
			}
		}
	}
	heap.Init(&s.queue)
	for _, out := range s.outages {
		out.until = out.until.Add(-by)
	}
}

// answered ends the outage of a realm: what waits for it is due at once.
func (s *schedule) answered(realm string, now time.Time) {
	if s.outages[realm] == nil {
		return
	}
	delete(s.outages, realm)
	for _, it := range s.queue {
		if it.Realm == realm && it.failures == 0 && !it.dead && it.at.After(now) && it.due().Before(now) {
			it.at, it.Next = now, now
		}
	}
	heap.Init(&s.queue)
}

// unanswered begins an outage, or makes it longer if it was the request that
// was to find out. It returns the time until the next one.
func (s *schedule) unanswered(it *item, now time.Time, longest time.Duration) time.Duration {
	out := s.outages[it.Realm]
	switch {
	case out == nil:
		if len(s.outages) >= maxOutages {
			maps.DeleteFunc(s.outages, func(_ string, o *outage) bool { return o.until.Before(now) && o.probe == nil })
		}
		out = &outage{}
		s.outages[it.Realm] = out
	case out.probe != it:
		return max(out.until.Sub(now), 0) // one of those that were under way when it began
	}
	pause := min(firstOutage<<min(out.failures, 16), longestOutage, longest)
	out.failures++
	out.probe = nil
	out.until = now.Add(pause)
	return pause
}

// unprobed notes that nobody was asked for a ticket after all.
func (s *schedule) unprobed(it *item) {
	if out := s.outages[it.Realm]; out != nil && out.probe == it {
		out.probe = nil
	}
}

// tried ends what take began, and lets another of the user's have the turn.
func (s *schedule) tried(it *item) {
	uid := it.UID
	if s.trying[uid]--; s.trying[uid] == 0 {
		delete(s.trying, uid)
	}
	for len(s.parked[uid]) > 0 {
		next := s.parked[uid][0]
		s.parked[uid] = s.parked[uid][1:]
		if s.items[next.place()] == next { // it may have been dropped
			heap.Push(&s.queue, next)
			return
		}
	}
	delete(s.parked, uid)
}

// later is the time at which to look again at a ticket that waits for an
// outage to end.
func later(now, until time.Time) time.Time {
	if soon := now.Add(probeTime); until.Before(soon) {
		return soon
	}
	return until
}

// triesOfUser bounds the tickets of one user that are tried at a time, so that
// one who has many of realms that do not answer leaves room for others.
const triesOfUser = 4

// maxOutages bounds the realms that are remembered as not answering.
const maxOutages = 1000

// probeTime is how long others of a realm wait while one request finds out
// whether its KDCs answer again.
const probeTime = time.Second

// lookTime is the longest time until the clock is looked at again: a timer does
// not run while the machine is suspended, and knows nothing of a wall clock that
// was set.
const lookTime = time.Minute

// clock notices when the wall clock is set back.
type clock struct{ last time.Time }

// read returns a time without its monotonic part, so that times can be ordered,
// and how far the wall clock was set back since the last one.
func (c *clock) read(now time.Time) (wall time.Time, back time.Duration) {
	wall = now.Round(0)
	if !c.last.IsZero() {
		back = now.Sub(c.last) - wall.Sub(c.last.Round(0))
	}
	c.last = now
	if back < time.Second {
		back = 0
	}
	return wall, back
}
