package renewal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gosssd/kcm/protocol"
)

// shelf keeps tickets as kcm would. It is used under synctest's clock.
type shelf struct {
	mu      sync.Mutex
	renewer *Renewer
	tickets map[uint32]Ticket
	broken  error // of Replace
	logged  []string
	renewed int
}

type refusal int32

func (e refusal) Error() string  { return fmt.Sprintf("refused with code %d", int32(e)) }
func (e refusal) KDCCode() int32 { return int32(e) }

func (s *shelf) TGT(_ context.Context, t Ticket) (protocol.Credential, time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tickets[t.UID] != t {
		return protocol.Credential{}, 0, ErrGone
	}
	return credential(t), time.Minute, nil
}

func (s *shelf) Replace(_ context.Context, t Ticket, _, fresh protocol.Credential) error {
	s.mu.Lock()
	if s.tickets[t.UID] != t || s.broken != nil {
		defer s.mu.Unlock()
		if s.broken != nil {
			return s.broken
		}
		return ErrGone
	}
	t.Start, t.End = at(fresh.Times.Start), at(fresh.Times.End)
	s.tickets[t.UID] = t
	s.mu.Unlock()
	s.renewer.Learn(t.UID, []Ticket{t})
	return nil
}

func (s *shelf) Renewed(Ticket, protocol.Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed++
}

func (s *shelf) Failed(t Ticket, err error, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := "again later"
	if next.IsZero() {
		again = "not again"
	}
	s.logged = append(s.logged, fmt.Sprintf("%d: %v; %s", t.UID, err, again))
}

func at(seconds uint32) time.Time { return time.Unix(int64(seconds), 0) }

func credential(t Ticket) protocol.Credential {
	return protocol.Credential{Times: protocol.Times{
		Start: uint32(t.Start.Unix()), End: uint32(t.End.Unix()), RenewTill: uint32(t.RenewTill.Unix())}}
}

const life = 10 * time.Hour

func ticket(uid uint32) Ticket {
	now := time.Now()
	return Ticket{UID: uid, Cache: protocol.UUID{byte(uid), byte(uid >> 8)}, Realm: "R", Start: now, End: now.Add(life), RenewTill: now.Add(7 * 24 * time.Hour)}
}

// bench is a shelf and a KDC, with a Renewer that runs until the test ends.
type bench struct {
	shelf
	asked    int
	under    int
	most     int // requests at a time
	answer   func(tgt protocol.Credential) error
	duration time.Duration // of a request
}

func newBench(t *testing.T) *bench {
	b := &bench{shelf: shelf{tickets: map[uint32]Ticket{}}}
	b.renewer = New(b, b.ask, b, Options{Interval: time.Hour, Timeout: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		b.renewer.Run(ctx)
		close(done)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return b
}

func (b *bench) give(tickets ...Ticket) {
	for _, t := range tickets {
		b.mu.Lock()
		b.tickets[t.UID] = t
		b.mu.Unlock()
		b.renewer.Learn(t.UID, []Ticket{t})
	}
}

// ask is the KDC: the new ticket lives as long as the old one.
func (b *bench) ask(ctx context.Context, tgt protocol.Credential, offset time.Duration) (protocol.Credential, error) {
	b.mu.Lock()
	b.asked++
	b.under++
	b.most = max(b.most, b.under)
	answer, duration := b.answer, b.duration
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.under--
		b.mu.Unlock()
	}()
	if duration > 0 {
		select {
		case <-time.After(duration):
		case <-ctx.Done():
			return tgt, ctx.Err()
		}
	}
	if offset != time.Minute {
		return tgt, errors.New("the offset is lost")
	}
	if answer != nil {
		if err := answer(tgt); err != nil {
			return tgt, err
		}
	}
	lived := tgt.Times.End - tgt.Times.Start
	tgt.Times.Start = uint32(time.Now().Unix())
	tgt.Times.End = min(tgt.Times.Start+lived, tgt.Times.RenewTill)
	return tgt, nil
}

// last sets how long a request lasts.
func (b *bench) last(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.duration = d
}

func (b *bench) set(answer func(protocol.Credential) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

// seen waits until nothing happens any more, and returns what has happened.
func (b *bench) seen() (asked, renewed, most int, logged string) {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked, b.renewed, b.most, strings.Join(b.logged, "\n")
}

func TestATicketIsRenewedAtHalfItsLifeUntilTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.give(ticket(1))
		time.Sleep(life * 2 / 5)
		if asked, _, _, _ := b.seen(); asked != 0 {
			t.Fatal("asked before half of the life")
		}
		time.Sleep(life / 5)
		if asked, renewed, _, _ := b.seen(); asked != 1 || renewed != 1 {
			t.Fatalf("asked %d times, renewed %d", asked, renewed)
		}
		time.Sleep(8 * 24 * time.Hour)
		asked, renewed, _, _ := b.seen()
		if got := b.tickets[1]; !got.End.Equal(got.RenewTill) {
			t.Errorf("ends %v, could have lived until %v", got.End, got.RenewTill)
		}
		if _, known := b.renewer.State(1, protocol.UUID{1}, 0); known {
			t.Error("what can gain nothing is still known")
		}
		if asked != renewed {
			t.Errorf("asked %d times, renewed %d", asked, renewed)
		}
	})
}

func TestRenewalsAreSpreadAndFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.last(20 * time.Millisecond)
		const users = 10000
		for uid := range uint32(users) {
			b.give(ticket(uid))
		}
		time.Sleep(life * 3 / 5)
		if _, renewed, most, _ := b.seen(); renewed != users || most > inFlight {
			t.Errorf("renewed %d of %d, at most %d at a time", renewed, users, most)
		}
	})
}

func TestTicketsThatAreAllOverdueAreRenewedFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.last(20 * time.Millisecond)
		old := ticket(0)
		time.Sleep(life * 4 / 5)
		const users = 10000
		for uid := range uint32(users) {
			old.UID, old.Cache = uid, protocol.UUID{byte(uid), byte(uid >> 8)}
			b.give(old)
		}
		time.Sleep(users / inFlight * 20 * time.Millisecond * 11 / 10)
		if _, renewed, most, _ := b.seen(); renewed != users || most != inFlight {
			t.Errorf("renewed %d of %d, at most %d at a time", renewed, users, most)
		}
	})
}

func TestAKDCThatIsAwayIsAskedByOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		away := errors.New("nobody answers")
		b.set(func(protocol.Credential) error { return away })
		const users = 500
		for uid := range uint32(users) {
			b.give(ticket(uid))
		}
		time.Sleep(life * 3 / 5)
		before, _, _, _ := b.seen()
		time.Sleep(3 * time.Hour)
		asked, renewed, _, logged := b.seen()
		if asked -= before; asked == 0 || asked > 3*12+3 {
			t.Errorf("asked %d times in three hours, want once in about five minutes", asked)
		}
		if renewed != 0 || logged == "" {
			t.Errorf("renewed %d, logged %q", renewed, logged)
		}
		b.set(nil)
		time.Sleep(longestOutage * 11 / 10)
		if _, renewed, _, _ := b.seen(); renewed != users {
			t.Errorf("renewed %d of %d after it came back", renewed, users)
		}
	})
}

func TestAnOutageOfOneRealmIsNotOneOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.set(func(tgt protocol.Credential) error {
			if tgt.Times.RenewTill%2 == 1 {
				return errors.New("nobody answers")
			}
			return nil
		})
		for uid := range uint32(20) {
			one := ticket(uid)
			if one.RenewTill = one.RenewTill.Truncate(2 * time.Second); uid%2 == 1 {
				one.Realm, one.RenewTill = "AWAY", one.RenewTill.Add(time.Second)
			}
			b.give(one)
		}
		time.Sleep(life * 3 / 5)
		if _, renewed, _, _ := b.seen(); renewed != 10 {
			t.Errorf("renewed %d, want the ten of the other realm", renewed)
		}
	})
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		err   error
		least int // requests until the ticket ends
		most  int
		want  string
	}{
		"a ticket that cannot be renewed": {refusal(13), 1, 1, "1: refused with code 13; not again"},
		"a principal that is locked":      {refusal(18), 1, 1, "1: refused with code 18; not again"},
		"a clock that is wrong":           {refusal(37), 9, 14, "1: refused with code 37; again later"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.set(func(protocol.Credential) error { return test.err })
				b.give(ticket(1))
				time.Sleep(life)
				asked, _, _, logged := b.seen()
				if asked < test.least || asked > test.most {
					t.Errorf("asked %d times, want %d to %d", asked, test.least, test.most)
				}
				if logged != test.want {
					t.Errorf("logged %q, want %q", logged, test.want)
				}
				var refused refusal
				errors.As(test.err, &refused)
				if state, known := b.renewer.State(1, protocol.UUID{1}, 0); !known || state.Code != int32(refused) || state.Result != test.err.Error() {
					t.Errorf("state %+v, %t", state, known)
				}
			})
		})
	}
}

// A new login, or the end of the cache, while the KDC is being asked.
func TestTheUserWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.last(time.Second)
		b.give(ticket(1), ticket(2))
		newer := ticket(1)
		b.set(func(protocol.Credential) error {
			newer.Start, newer.End = time.Now(), time.Now().Add(life)
			b.give(newer)
			b.mu.Lock()
			delete(b.tickets, 2)
			b.mu.Unlock()
			b.renewer.Learn(2, nil)
			b.set(nil)
			return nil
		})
		time.Sleep(life * 3 / 5)
		b.seen()
		if b.tickets[1] != newer || len(b.tickets) != 1 {
			t.Errorf("kept %+v, want %+v alone", b.tickets, newer)
		}
		if counts, tickets := b.renewer.Counts(); counts.Overtaken == 0 || tickets != 1 {
			t.Errorf("%+v, %d tickets", counts, tickets)
		}
	})
}

func TestAStoreThatFailsIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.mu.Lock()
		b.broken = errors.New("no space left")
		b.mu.Unlock()
		b.give(ticket(1))
		time.Sleep(life * 3 / 5)
		b.mu.Lock()
		b.broken = nil
		b.mu.Unlock()
		time.Sleep(time.Hour * 11 / 10)
		if _, renewed, _, _ := b.seen(); renewed != 1 || len(b.renewer.schedule.outages) != 0 {
			t.Errorf("renewed %d, outages %v", renewed, b.renewer.schedule.outages)
		}
	})
}

func TestWhatCannotGainIsNotAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		last := ticket(1)
		last.RenewTill = last.End
		old := ticket(2)
		old.End = old.Start
		b.give(last, old)
		time.Sleep(2 * life)
		asked, _, _, _ := b.seen()
		if _, owed := b.renewer.Next(); owed || asked != 0 {
			t.Errorf("asked %d times", asked)
		}
	})
}
