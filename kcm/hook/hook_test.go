package hook

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

// starter notes what it is told to start, and how many of whom run at a time.
type starter struct {
	mu      sync.Mutex
	told    []string
	running map[uint32]int
	total   int
	most    int
	of1     int // the most of one user
	takes   time.Duration
	fails   error
}

func (s *starter) Run(ctx context.Context, e Event) error {
	s.mu.Lock()
	s.told = append(s.told, fmt.Sprintf("%d %s %s %s", e.UID, e.Kind, e.Name, e.Principal))
	s.running[e.UID]++
	s.total++
	s.most, s.of1 = max(s.most, s.total), max(s.of1, s.running[e.UID])
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.running[e.UID]--
		s.total--
		s.mu.Unlock()
	}()
	select {
	case <-time.After(s.takes):
		return s.fails
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *starter) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.told, "\n")
}

// rig has hooks that run, in a bubble of synctest.
type rig struct {
	*Hooks
	*starter
	mu   sync.Mutex
	logs []string
	stop func()
}

func (r *rig) Failed(e Event, err error) { r.note(fmt.Sprintf("failed %s: %v", e.Kind, err)) }

func (r *rig) LeftOut(e Event, why string) { r.note(fmt.Sprintf("left out %s: %s", e.Kind, why)) }

func (r *rig) note(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, line)
}

func run(t *testing.T, options Options, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if options.Timeout == 0 {
			options.Timeout = 10 * time.Second
		}
		r := &rig{starter: &starter{running: map[uint32]int{}}}
		r.Hooks = New(r.starter, r, time.Now, options)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			r.Hooks.Run(ctx)
			close(ended)
		}()
		r.stop = func() {
			stop()
			<-ended
		}
		test(t, r)
		r.stop()
	})
}

// expect waits until nothing goes on any more, and compares what was started.
func (r *rig) expect(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := r.all(); got != strings.Join(want, "\n") {
		t.Errorf("started\n%s\nnot\n%s", got, strings.Join(want, "\n"))
	}
}

func cacheOf(n int, life time.Duration) Cache {
	now := time.Now().Unix()
	return Cache{ID: protocol.UUID{byte(n >> 8), byte(n)}, Name: fmt.Sprint("cache", n), Principal: "alice@EXAMPLE.TEST",
		TGT: Lifetime{Auth: now, Start: now, End: now + int64(life/time.Second)}}
}

func renewed(c Cache) Cache {
	life := c.TGT.End - c.TGT.Start
	c.TGT.Start = time.Now().Unix()
	c.TGT.End = c.TGT.Start + life
	return c
}

func TestEachEventIsToldOnce(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.Learn(1, nil)
		c := cacheOf(1, 10*time.Hour)
		empty := c
		empty.TGT = Lifetime{}
		r.Learn(1, []Cache{empty}) // INITIALIZE comes before STORE
		r.expect(t)
		r.Learn(1, []Cache{c})
		r.Learn(1, []Cache{c})
		r.expect(t, "1 created cache1 alice@EXAMPLE.TEST")
		time.Sleep(5 * time.Hour)
		c = renewed(c)
		r.Learn(1, []Cache{empty}) // as kinit -R does
		r.Learn(1, []Cache{c})
		told := []string{"1 created cache1 alice@EXAMPLE.TEST", "1 renewed cache1 alice@EXAMPLE.TEST"}
		r.expect(t, told...)
		time.Sleep(9*time.Hour - time.Second)
		r.expect(t, told...)
		time.Sleep(time.Minute)
		told = append(told, "1 expiring cache1 alice@EXAMPLE.TEST")
		r.expect(t, told...)
		again := cacheOf(1, 10*time.Hour) // a new login into the same cache
		r.Learn(1, []Cache{again})
		told = append(told, "1 created cache1 alice@EXAMPLE.TEST")
		r.expect(t, told...)
		r.Learn(1, nil)
		told = append(told, "1 destroyed cache1 alice@EXAMPLE.TEST")
		time.Sleep(24 * time.Hour)
		r.expect(t, told...)
		if r.Owed() {
			t.Error("something is still owed")
		}
	})
}

func TestATicketThatIsRenewedIsNotToldToExpire(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		c := cacheOf(1, 20*time.Second)
		r.Learn(1, []Cache{c}) // as at the start of the server: no event
		for range 5 {
			time.Sleep(10 * time.Second)
			c = renewed(c)
			r.Learn(1, []Cache{c})
		}
		synctest.Wait()
		if all := r.all(); strings.Count(all, "renewed") != 5 || strings.Contains(all, "expiring") || strings.Contains(all, "created") {
			t.Error(all)
		}
		if !r.Owed() {
			t.Error("the server may end although a ticket will expire")
		}
		time.Sleep(19 * time.Second)
		synctest.Wait()
		if all := r.all(); strings.Count(all, "expiring") != 1 {
			t.Error(all)
		}
		if r.Owed() {
			t.Error("what was told is owed")
		}
	})
}

func TestTheClockOfTheKDCIsTakenIntoAccount(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.Learn(1, nil)
		c := cacheOf(1, 100*time.Second)
		c.TGT.Start += 3600
		c.TGT.End += 3600
		r.Learn(1, []Cache{c})
		c.Offset = 3600 // as the client finds out afterwards
		r.Learn(1, []Cache{c})
		r.expect(t, "1 created cache1 alice@EXAMPLE.TEST")
		time.Sleep(91 * time.Second)
		r.expect(t, "1 created cache1 alice@EXAMPLE.TEST", "1 expiring cache1 alice@EXAMPLE.TEST")
	})
}

func TestRootsCachesStartNothingUnlessAskedFor(t *testing.T) {
	for _, wanted := range []bool{false, true} {
		run(t, Options{Root: wanted}, func(t *testing.T, r *rig) {
			r.Learn(0, nil)
			r.Learn(0, []Cache{cacheOf(1, time.Hour)})
			synctest.Wait()
			if started := r.all() != ""; started != wanted {
				t.Errorf("ticket_hook_root %v: %q", wanted, r.all())
			}
		})
	}
}

// TestAUserWhoMakesThousandsOfCachesDisturbsNobody floods, with a program that
// hangs.
func TestAUserWhoMakesThousandsOfCachesDisturbsNobody(t *testing.T) {
	run(t, Options{Timeout: time.Second}, func(t *testing.T, r *rig) {
		r.takes = time.Hour
		r.Learn(1, nil)
		r.Learn(2, nil)
		var many []Cache
		for n := range 5000 {
			many = append(many, cacheOf(n, time.Hour))
		}
		r.Learn(1, many)
		r.Learn(2, many[:1])
		synctest.Wait()
		if all := r.all(); !strings.Contains(all, "2 created") {
			t.Errorf("the other user waits: %s", all)
		}
		for range 10 {
			r.Learn(1, many[:4999])
			r.Learn(1, many)
			time.Sleep(6 * time.Second)
		}
		synctest.Wait()
		r.starter.mu.Lock()
		started := len(r.told)
		r.starter.mu.Unlock()
		if r.of1 != 1 || started > 2*userMinute+1 {
			t.Errorf("%d programs of one user at a time, %d within a minute", r.of1, started)
		}
		counts := r.Counts()
		if counts.Waiting > maxUserWaiting || counts.LeftOut < 4000 || counts.Failed == 0 || counts.Run != 0 {
			t.Errorf("%+v", counts)
		}
	})
}

func TestUsersTakeTurnsWithinABound(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.takes = time.Second
		for uid := range uint32(100) {
			r.Learn(uid+1, nil)
			r.Learn(uid+1, []Cache{cacheOf(1, time.Hour), cacheOf(2, time.Hour)})
		}
		time.Sleep(7*time.Second + time.Millisecond)
		synctest.Wait()
		seen := map[string]bool{}
		for line := range strings.Lines(r.all()) {
			seen[strings.Fields(line)[0]] = true
		}
		if len(seen) != 100 || r.most != atOnce {
			t.Errorf("%d of 100 users had their turn after 7 s, %d programs ran at a time", len(seen), r.most)
		}
	})
}

func TestEventsOfOneCacheThatWaitAreMadeOne(t *testing.T) {
	q := newQueue()
	now := time.Now()
	add := func(kind Kind, cache byte, first bool) {
		if !q.add(Event{Kind: kind, UID: 1, Cache: protocol.UUID{cache}, first: first}, now) {
			t.Fatal("the queue is full")
		}
	}
	add(Created, 1, true)
	add(Renewed, 1, false) // is new still
	add(Created, 2, true)
	add(Destroyed, 2, false) // nobody knew of it
	add(Renewed, 3, false)
	add(Expiring, 3, false)
	add(Expiring, 4, false)
	add(Destroyed, 4, false)
	add(Created, 5, false)
	add(Destroyed, 5, false) // it was told of before
	var got []string
	for {
		e, found, _ := q.take(now)
		if !found {
			break
		}
		q.ended(1)
		got = append(got, fmt.Sprint(e.Kind, e.Cache[0]))
	}
	if want := []string{"created1", "expiring3", "destroyed4", "destroyed5"}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if q.waiting != 0 {
		t.Errorf("%d wait", q.waiting)
	}
}

func TestAFailureIsOneLine(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.fails = errors.New("exit status 3")
		r.Learn(1, nil)
		r.Learn(1, []Cache{cacheOf(1, time.Hour)})
		synctest.Wait()
		if want := []string{"failed created: exit status 3"}; !slices.Equal(r.logs, want) {
			t.Errorf("%q", r.logs)
		}
		if counts := r.Counts(); counts.Failed != 1 || counts.Run != 0 {
			t.Errorf("%+v", counts)
		}
	})
}

func TestTextsThatAreNotPlainStartNothing(t *testing.T) {
	for _, name := range []string{"a\nLD_PRELOAD=/x", "\xff", strings.Repeat("x", maxText+1)} {
		run(t, Options{}, func(t *testing.T, r *rig) {
			r.Learn(1, nil)
			c := cacheOf(1, time.Hour)
			c.Name = name
			r.Learn(1, []Cache{c})
			r.expect(t)
			if r.Counts().LeftOut != 1 || len(r.logs) != 1 {
				t.Errorf("%q: %+v, %q", name, r.Counts(), r.logs)
			}
		})
	}
}

func TestWhatWaitsIsStartedWhenTheServerEnds(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.takes = time.Second
		r.Learn(1, nil)
		r.Learn(1, []Cache{cacheOf(1, time.Hour)})
		r.stop()
		if counts := r.Counts(); counts.Run != 1 {
			t.Errorf("%+v", counts)
		}
	})
	run(t, Options{Timeout: time.Hour}, func(t *testing.T, r *rig) {
		r.takes = time.Hour
		r.Learn(1, nil)
		r.Learn(1, []Cache{cacheOf(1, time.Hour), cacheOf(2, time.Hour)})
		began := time.Now()
		r.stop()
		if took := time.Since(began); took != farewell {
			t.Errorf("the end takes %v", took)
		}
		if counts := r.Counts(); counts.Failed != 1 || counts.LeftOut != 1 || counts.Waiting != 0 {
			t.Errorf("%+v", counts)
		}
	})
}

// TestWarningsTakeNoMemoryWithoutBound renews one ticket very often.
func TestWarningsTakeNoMemoryWithoutBound(t *testing.T) {
	w, now := newWatch(), time.Now()
	c := Cache{ID: protocol.UUID{1}, TGT: Lifetime{Auth: 1, Start: 1, End: now.Unix() + 36000}}
	for range 10000 {
		c.TGT.End++
		w.learn(1, []Cache{c}, now)
		w.wait(now)
	}
	if len(w.due) > 100 {
		t.Errorf("%d warnings of one ticket", len(w.due))
	}
}

// TestANameThatIsNoPlainTextStartsNothing: it would reach a program's environment,
// and lines of the log.
func TestANameThatIsNoPlainTextStartsNothing(t *testing.T) {
	run(t, Options{}, func(t *testing.T, r *rig) {
		r.Learn(1000, nil)
		for i, name := range []string{"two\nlines", "an escape \x1b[2J", "not UTF-8 \xff", strings.Repeat("x", maxText+1)} {
			inName, inPrincipal := cacheOf(2*i, time.Hour), cacheOf(2*i+1, time.Hour)
			inName.Name, inPrincipal.Principal = name, name
			r.Learn(1000, []Cache{inName, inPrincipal})
			r.Learn(1000, nil)
		}
		r.expect(t)
		if counts := r.Counts(); counts.LeftOut != 16 || counts.Run != 0 {
			t.Errorf("%+v", counts)
		}
	})
}
