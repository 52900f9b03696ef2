package renewal

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	swapped int   // how often Replace finds another ticket with the same times
	logged  []string
	renewed int
}

type refusal int32

// away says that no KDC answers.
type away struct{}

func (away) Error() string { return "nobody answers" }
func (away) Outage() bool  { return true }

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
	if s.swapped > 0 {
		s.swapped--
		s.mu.Unlock()
		return ErrGone
	}
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
	aged     uint32        // seconds by which a new ticket's start lies back
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
	tgt.Times.Start = uint32(time.Now().Unix()) - b.aged
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
		b.set(func(protocol.Credential) error { return away{} })
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
				return away{}
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
		if sum := b.renewer.Summary(); sum.Overtaken == 0 || sum.Tickets != 1 {
			t.Errorf("%+v", sum)
		}
	})
}

// TestATicketOfTheSameTimesIsRenewedAsWell: a login in the second of the one before
// it, while that one's ticket is being renewed.
func TestATicketOfTheSameTimesIsRenewedAsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.swapped = 2
		b.give(ticket(1))
		time.Sleep(life * 3 / 5)
		asked, renewed, _, logged := b.seen()
		if asked != 3 || renewed != 1 || logged != "" {
			t.Errorf("asked %d times, renewed %d times, logged %q", asked, renewed, logged)
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

// One ticket that makes KDCs answer nonsense, or that nobody can ask for, does
// not keep others from theirs.
func TestWhatIsWrongWithOneTicketIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		bad := ticket(0)
		bad.RenewTill = bad.RenewTill.Add(time.Second)
		b.set(func(tgt protocol.Credential) error {
			if tgt.Times.RenewTill == uint32(bad.RenewTill.Unix()) {
				return errors.New("the reply cannot be used")
			}
			return nil
		})
		b.give(bad)
		const others = 200
		for uid := range uint32(others) {
			b.give(ticket(uid + 1))
		}
		time.Sleep(life * 3 / 5)
		asked, renewed, _, _ := b.seen()
		if renewed != others || len(b.renewer.schedule.outages) != 0 || b.renewer.Summary().Failed != uint64(asked-others) || asked == others {
			t.Errorf("asked %d, renewed %d, outages %v, %+v", asked, renewed, b.renewer.schedule.outages, b.renewer.Summary())
		}
	})
}

// The ticket by which the end of an outage is to be found out is gone.
func TestAProbeThatIsGoneLeavesItToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.set(func(protocol.Credential) error { return away{} })
		for uid := range uint32(3) {
			b.give(ticket(uid))
		}
		for asked := 0; asked < 3; asked, _, _, _ = b.seen() {
			time.Sleep(time.Minute)
		}
		b.mu.Lock()
		kept := b.tickets
		b.tickets = map[uint32]Ticket{2: kept[2]}
		b.mu.Unlock()
		b.set(nil)
		time.Sleep(2 * longestOutage)
		if _, renewed, _, _ := b.seen(); renewed != 1 {
			t.Errorf("renewed %d", renewed)
		}
	})
}

// Where one ticket alone gets no answer, the next request is for another.
func TestASilenceForOneTicketEndsWithTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		mute := ticket(0)
		mute.RenewTill = mute.RenewTill.Add(time.Second)
		b.set(func(tgt protocol.Credential) error {
			if tgt.Times.RenewTill == uint32(mute.RenewTill.Unix()) {
				return away{}
			}
			return nil
		})
		b.give(mute)
		for uid := range uint32(50) {
			b.give(ticket(uid + 1))
		}
		time.Sleep(life * 3 / 5)
		if _, renewed, _, _ := b.seen(); renewed != 50 {
			t.Errorf("renewed %d", renewed)
		}
	})
}

// A KDC whose new tickets have more than half of their life behind them.
func TestAKDCThatGivesOldTicketsIsNotAskedWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.aged = uint32((life * 9 / 10).Seconds())
		b.give(ticket(1))
		time.Sleep(life)
		if asked, _, _, _ := b.seen(); asked < 2 || asked > 100 {
			t.Errorf("asked %d times", asked)
		}
	})
}

// A ticket that had expired before anybody could do anything about it.
func TestNothingIsSaidOfWhatHasLongExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		ended := ticket(1)
		time.Sleep(2 * life)
		b.give(ended)
		time.Sleep(life)
		asked, _, _, logged := b.seen()
		if _, owed := b.renewer.Next(); owed || asked != 0 || logged != "" {
			t.Errorf("owed %t, asked %d times, logged %q", owed, asked, logged)
		}
	})
}

// The wall clock is far ahead for a while, as after a start without a network.
func TestATicketOutlivesAWrongClock(t *testing.T) {
	s, one := newSchedule(), ticket(1)
	now := one.Start
	s.learn(1, []Ticket{one}, now)
	if it, wait := s.take(now.Add(30 * time.Hour)); it != nil || wait > lookTime {
		t.Fatalf("took %v, waits %v", it, wait)
	}
	s.take(now.Add(31 * time.Hour))
	if len(s.lapsed) != 1 || !s.next().IsZero() {
		t.Errorf("lapsed %v, next %v", s.lapsed, s.next())
	}
	s.setBack(31 * time.Hour)
	it, _ := s.take(now.Add(life * 3 / 5))
	if it == nil || it.Ticket != one || it.Result != "" {
		t.Errorf("took %+v", it)
	}
}

func TestPausesDoNotGrowWhenTheClockIsSetBack(t *testing.T) {
	var c clock
	now := time.Now()
	c.read(now)
	later := now.Add(time.Minute)
	if _, back := c.read(later); back != 0 {
		t.Errorf("set back by %v", back)
	}
	wall, _ := c.read(later.Round(0).Add(-time.Hour)) // without a monotonic part: both went back
	if wall != later.Round(0).Add(-time.Hour) {
		t.Errorf("reads %v", wall)
	}
	s, one := newSchedule(), ticket(1)
	s.learn(1, []Ticket{one}, now)
	it, _ := s.take(one.End.Add(-time.Hour))
	s.tried(it)
	it.Last = one.End.Add(-time.Hour)
	s.put(it, it.Last.Add(time.Minute))
	s.setBack(time.Hour)
	if want := one.End.Add(-2*time.Hour + time.Minute); s.next() != want || !it.Next.Equal(want) {
		t.Errorf("next is %v, want %v", s.next(), want)
	}
}

// A user's many tickets are renewed a few at a time, one after the other and
// without pauses, and leave room for others.
func TestTicketsOfOneUserTakeTurns(t *testing.T) {
	s, now := newSchedule(), time.Now()
	var all []Ticket
	for i := range 10 {
		one := ticket(1)
		one.Start, one.Credential = now.Add(-2*life), uint64(i)
		all = append(all, one)
	}
	s.learn(1, all, now)
	var taken []*item
	for it, _ := s.take(now); it != nil; it, _ = s.take(now) {
		taken = append(taken, it)
	}
	if !s.busy() {
		t.Error("nothing is under way")
	}
	if len(taken) != triesOfUser || len(s.parked[1]) != 10-triesOfUser {
		t.Fatalf("%d are tried, %d wait", len(taken), len(s.parked[1]))
	}
	s.learn(1, slices.DeleteFunc(all, func(one Ticket) bool { return one.place() == s.parked[1][0].place() }), now)
	for len(taken) > 0 {
		s.tried(taken[0])
		taken = taken[1:]
		if it, _ := s.take(now); it != nil {
			taken = append(taken, it)
		}
	}
	if s.busy() || len(s.parked)+len(s.trying) != 0 {
		t.Errorf("parked %v, trying %v", s.parked, s.trying)
	}
}
