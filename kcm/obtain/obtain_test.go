package obtain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

type refusal struct{}

func (refusal) Error() string  { return "refused" }
func (refusal) KDCCode() int32 { return 7 }

// silence is that of a realm.
type silence string

func (s silence) Error() string       { return "silent: " + string(s) }
func (s silence) SilentRealm() string { return string(s) }

var options = Options{Timeout: 5 * time.Second, Refused: 10 * time.Second, Away: 30 * time.Second, InFlight: 4, OfOne: 2}

const realm = "EXAMPLE.TEST"

func keyOf(text string) Key { return KeyOf([]byte(text)) }

func TestOneExchangeForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New[int](options)
		defer g.Close()
		var asked, firsts atomic.Int32
		var clients sync.WaitGroup
		for range 200 {
			clients.Go(func() {
				got, first, err := g.Do(t.Context(), 1, keyOf("a"), realm, func(context.Context) (int, error) {
					asked.Add(1)
					time.Sleep(time.Second)
					return 42, nil
				})
				if got != 42 || err != nil {
					t.Error(got, err)
				}
				if first {
					firsts.Add(1)
				}
			})
		}
		clients.Wait()
		if asked.Load() != 1 || firsts.Load() != 1 {
			t.Errorf("asked %d times, %d were first", asked.Load(), firsts.Load())
		}
	})
}

func TestWhoLeavesTakesNothingFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New[int](options)
		defer g.Close()
		get := func(ctx context.Context) (int, error) {
			select {
			case <-time.After(2 * time.Second):
				return 1, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var other sync.WaitGroup
		other.Go(func() {
			time.Sleep(time.Millisecond)
			if got, _, err := g.Do(t.Context(), 1, keyOf("a"), realm, get); got != 1 || err != nil {
				t.Error(got, err)
			}
		})
		if _, _, err := g.Do(impatient, 1, keyOf("a"), realm, get); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		other.Wait()
	})
}

// TestErrorsAreRememberedForTheirTime: a refusal for its ticket, silence for
// its realm, any other error not at all.
func TestErrorsAreRememberedForTheirTime(t *testing.T) {
	for _, c := range []struct {
		err         error
		forSame     time.Duration
		forRealmToo bool
		isForgotten bool
	}{
		{err: refusal{}, forSame: options.Refused},
		{err: silence(realm), forSame: options.Away, forRealmToo: true},
		{err: silence("FAR.TEST"), forSame: options.Away}, // where the service is
		{err: silence(""), isForgotten: true},             // an answer that is of no use
		{err: errors.New("something else"), isForgotten: true},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New[int](options)
				defer g.Close()
				asked := 0
				ask := func(key, realm string) int {
					before := asked
					_, _, err := g.Do(t.Context(), 1, keyOf(key), realm, func(context.Context) (int, error) {
						asked++
						return 0, c.err
					})
					if !errors.Is(err, c.err) {
						t.Error(err)
					}
					return asked - before
				}
				if n := ask("a", realm); n != 1 {
					t.Fatalf("asked %d times", n)
				}
				if n := ask("a", realm); (n == 1) != c.isForgotten {
					t.Errorf("at once: asked %d times", n)
				}
				if n := ask("b", realm); (n == 0) != c.forRealmToo {
					t.Errorf("for another ticket: asked %d times", n)
				}
				if n := ask("a2", "OTHER.TEST"); n != 1 {
					t.Errorf("in another realm: asked %d times", n)
				}
				time.Sleep(c.forSame)
				if n := ask("a", realm); n != 1 {
					t.Errorf("later: asked %d times", n)
				}
			})
		})
	}
}

func TestAnExchangeThatHangsEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New[int](options)
		defer g.Close()
		began := time.Now()
		_, _, err := g.Do(t.Context(), 1, keyOf("a"), realm, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != options.Timeout {
			t.Error(err, time.Since(began))
		}
	})
}

func TestOneUserLeavesRoomForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New[int](options)
		defer g.Close()
		slow := func(context.Context) (int, error) {
			time.Sleep(time.Second)
			return 1, nil
		}
		var clients sync.WaitGroup
		var busy atomic.Int32
		for i := range 10 {
			clients.Go(func() {
				if _, _, err := g.Do(t.Context(), 1, keyOf(fmt.Sprint(i)), realm, slow); errors.Is(err, ErrBusy) {
					busy.Add(1)
				}
			})
		}
		synctest.Wait()
		if n := busy.Load(); n != 10-int32(options.OfOne) {
			t.Errorf("%d were refused", n)
		}
		began := time.Now()
		if _, _, err := g.Do(t.Context(), 2, keyOf("other"), realm, slow); err != nil || time.Since(began) != time.Second {
			t.Errorf("another user: %v after %v", err, time.Since(began))
		}
		clients.Wait()
		if len(g.ofUser) != 0 || len(g.flights) != 0 {
			t.Error("something is left", g.ofUser, g.flights)
		}
	})
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	g := New[int](options)
	defer g.Close()
	for i := range maxRemembered + 10 {
		realm := fmt.Sprint("R", i)
		for _, err := range []error{refusal{}, silence(realm)} {
			_, _, _ = g.Do(t.Context(), 1, KeyOf([]byte(realm), []byte(err.Error())), realm, func(context.Context) (int, error) { return 0, err })
		}
	}
	if len(g.refusals) > maxRemembered || len(g.away) > maxRemembered {
		t.Errorf("%d refusals and %d realms are remembered", len(g.refusals), len(g.away))
	}
}

func TestKeysDoNotRunTogether(t *testing.T) {
	if KeyOf([]byte("ab"), []byte("c")) == KeyOf([]byte("a"), []byte("bc")) {
		t.Error("two tickets have one key")
	}
}
