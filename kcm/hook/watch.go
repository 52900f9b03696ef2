package hook

import (
	"container/heap"
	"time"
	"unicode"
	"unicode/utf8"

	"gosssd/kcm/protocol"
)

// Cache is what is known of a credential cache.
type Cache struct {
	ID        protocol.UUID
	Name      string
	Principal string
	TGT       Lifetime // of its ticket-granting ticket; zero if it has none
	Offset    int64    // seconds that the KDC's clock is ahead of this machine's
}

// Lifetime is that of a ticket, in Unix seconds by the clock of the KDC.
type Lifetime struct {
	Auth  int64 // when its owner logged in; a renewal keeps it
	Start int64
	End   int64 // 0: there is no ticket
}

// end is when the ticket ends by the clock of this machine; 0 without a ticket.
func (c Cache) end() int64 {
	if c.TGT.End == 0 {
		return 0
	}
	return c.TGT.End - c.Offset
}

// warnAt is when a ticket is told to end soon: when a tenth of its life is
// left, and at most an hour before its end.
func (c Cache) warnAt() int64 {
	const longest = int64(time.Hour / time.Second)
	return c.end() - min((max(c.TGT.End-c.TGT.Start, 0)+9)/10, longest)
}

// watch knows the tickets of all users, as far as they are told of: for each
// some 200 bytes, but no ticket.
type watch struct {
	users  map[uint32]map[protocol.UUID]*known
	caches int // of all users
	due    warnings
}

// known is a cache that was seen.
type known struct {
	Cache
	last  Lifetime // of the latest ticket that it had; zero if it never had one
	ended int64    // when that ends, by the clock of this machine
}

func newWatch() *watch { return &watch{users: map[uint32]map[protocol.UUID]*known{}} }

// learn takes note of what a user has, and returns what has become of what he
// had. A cache that is emptied and filled again, as kinit -R of older libraries
// does, was renewed.
func (w *watch) learn(uid uint32, caches []Cache, now time.Time) (events []Event) {
	had, again := w.users[uid]
	have := make(map[protocol.UUID]*known, len(caches))
	for _, c := range caches {
		k, before := &known{Cache: c}, had[c.ID]
		if before == nil {
			before = &known{}
		}
		k.last, k.ended = before.last, before.ended
		if c.TGT.End != 0 {
			k.last, k.ended = c.TGT, c.end()
		}
		have[c.ID] = k
		if c.end() <= now.Unix() || c.TGT == before.TGT && c.Offset == before.Offset {
			continue
		}
		heap.Push(&w.due, warning{c.warnAt(), c.end(), uid, c.ID, c.TGT})
		if !again || c.TGT == before.last {
			continue
		}
		kind := Created
		if before.last.End != 0 && before.last.Auth == c.TGT.Auth {
			kind = Renewed
		}
		events = append(events, k.event(kind, uid, before.last.End == 0))
	}
	for id, k := range had {
		if have[id] == nil && k.last.End != 0 {
			events = append(events, k.event(Destroyed, uid, false))
		}
	}
	w.users[uid] = have
	w.caches += len(have) - len(had)
	return events
}

func (k *known) event(kind Kind, uid uint32, first bool) Event {
	return Event{Kind: kind, UID: uid, Cache: k.ID, Name: k.Name, Principal: k.Principal, Expires: time.Unix(k.ended, 0), first: first}
}

// warning is a ticket that is to be told to end soon, unless it is another one
// by then.
type warning struct {
	at, end int64 // by the clock of this machine
	uid     uint32
	id      protocol.UUID
	tgt     Lifetime
}

// expiring returns what ends soon by now and has not been told of.
func (w *watch) expiring(now time.Time) (events []Event) {
	for len(w.due) > 0 && w.due[0].at <= now.Unix() {
		next := heap.Pop(&w.due).(warning)
		if k := w.current(next); k != nil { // even if it has ended meanwhile
			events = append(events, k.event(Expiring, next.uid, false))
		}
	}
	return events
}

// current returns the cache of a warning if it still has that ticket.
func (w *watch) current(next warning) *known {
	if k := w.users[next.uid][next.id]; k != nil && k.TGT == next.tgt && k.end() == next.end {
		return k
	}
	return nil
}

// wait returns how long it is until something ends soon.
func (w *watch) wait(now time.Time) time.Duration {
	w.forget()
	if len(w.due) == 0 {
		return longestLook
	}
	return max(time.Unix(w.due[0].at, 0).Sub(now), 0)
}

// owed reports whether a warning will be given.
func (w *watch) owed() bool {
	w.forget()
	return len(w.due) > 0
}

// forget drops the warnings at the head that are of no ticket any more, and all
// such where there are many.
func (w *watch) forget() {
	for len(w.due) > 0 && w.current(w.due[0]) == nil {
		heap.Pop(&w.due)
	}
	if len(w.due) <= 2*w.caches+64 {
		return
	}
	var kept warnings
	for _, next := range w.due {
		if w.current(next) != nil {
			kept = append(kept, next)
		}
	}
	w.due = kept
	heap.Init(&w.due)
}

// warnings is a heap, the next one first.
type warnings []warning

func (d warnings) Len() int           { return len(d) }
func (d warnings) Less(i, j int) bool { return d[i].at < d[j].at }
func (d warnings) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *warnings) Push(x any) { *d = append(*d, x.(warning)) }

// Pop implements heap.Interface.
func (d *warnings) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

// maxText bounds what a program is told in one variable.
const maxText = 1024

// plain reports whether a text can be handed to a program, and be written to a
// file that systemd reads.
func plain(text string) bool {
	if len(text) > maxText || !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}
