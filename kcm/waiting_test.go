package kcm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gosssd/kcm/protocol"
)

// hangs is a Store that answers nothing for a time and then fails, as the
// client of a secrets service that hangs does.
type hangs struct {
	*Memory
	limit   time.Duration
	hanging atomic.Bool
	loads   atomic.Int64
	stale   atomic.Int64 // commits that will be refused as stale
}

func (h *hangs) hang(ctx context.Context) error {
	if !h.hanging.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	<-ctx.Done()
	return ctx.Err()
}

func (h *hangs) Load(ctx context.Context, uid uint32, each func(string, []byte) error) error {
	h.loads.Add(1)
	if err := h.hang(ctx); err != nil {
		return err
	}
	time.Sleep(time.Millisecond) // so that others can come meanwhile
	return h.Memory.Load(ctx, uid, each)
}

func (h *hangs) Commit(ctx context.Context, uid uint32, changes map[string][]byte) error {
	if err := h.hang(ctx); err != nil {
		return err
	}
	if h.stale.Add(-1) >= 0 {
		return staleError{}
	}
	return h.Memory.Commit(ctx, uid, changes)
}

type staleError struct{}

func (staleError) Error() string { return "somebody has loaded the records since" }
func (staleError) Stale() bool   { return true }

// onHanging runs f with a collection on such a store, in a time of its own.
func onHanging(t *testing.T, f func(t *testing.T, r *rig, store *hangs, c *collection)) {
	synctest.Test(t, func(t *testing.T) {
		store := &hangs{Memory: NewMemory(), limit: 30 * time.Second}
		r := newRig(t, nil)
		r.server.users.open = func(string) (Store, error) { return store, nil }
		f(t, r, store, r.server.users.of(1000))
		_ = r.server.Close()
	})
}

// addCache is a change that makes a cache.
func addCache(n int) func(*edit) error {
	return func(e *edit) error {
		e.add(protocol.UUID{byte(n + 1)}, fmt.Sprintf("1000:%d", n), 1000, nil)
		return nil
	}
}

func TestWhoWaitsForAStoreThatHangsFailsWithTheOthers(t *testing.T) {
	onHanging(t, func(t *testing.T, _ *rig, store *hangs, c *collection) {
		store.hanging.Store(true)
		began := time.Now()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 2 * time.Second)
				if _, err := c.view(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a reader: %v", err)
				}
			})
			all.Go(func() {
				time.Sleep(time.Duration(i) * 2 * time.Second)
				if err := c.apply(t.Context(), addCache(i)); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a change: %v", err)
				}
			})
		}
		all.Wait()
		if waited := time.Since(began); waited > 31*time.Second || store.loads.Load() != 1 {
			t.Errorf("the last of 20 fails after %v and %d loads, expected with the first", waited, store.loads.Load())
		}
	})
}

func TestWhoWaitsBehindACommitThatHangsFailsWithIt(t *testing.T) {
	onHanging(t, func(t *testing.T, _ *rig, store *hangs, c *collection) {
		if _, err := c.view(t.Context()); err != nil {
			t.Fatal(err)
		}
		store.hanging.Store(true)
		began := time.Now()
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 2 * time.Second)
				var failed *unwritten
				if err := c.apply(t.Context(), addCache(i)); !errors.As(err, &failed) {
					t.Errorf("a change: %v", err)
				}
			})
		}
		all.Wait()
		if waited := time.Since(began); waited > 31*time.Second {
			t.Errorf("the last of 10 fails after %v", waited)
		}
		store.hanging.Store(false)
		if err := c.apply(t.Context(), addCache(11)); err != nil {
			t.Errorf("after the hang: %v", err)
		}
	})
}

func TestOneLoadServesAllWhoWait(t *testing.T) {
	onHanging(t, func(t *testing.T, _ *rig, store *hangs, c *collection) {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				if _, err := c.view(t.Context()); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if err := c.apply(t.Context(), addCache(i)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := store.loads.Load(); n != 1 {
			t.Errorf("%d loads", n)
		}
	})
}

func TestAChangeThatComesLateIsDecidedAnew(t *testing.T) {
	onHanging(t, func(t *testing.T, _ *rig, store *hangs, c *collection) {
		if err := c.apply(t.Context(), addCache(0)); err != nil {
			t.Fatal(err)
		}
		store.stale.Store(1)
		if err := c.apply(t.Context(), addCache(1)); err != nil {
			t.Errorf("a change that was refused once as stale: %v", err)
		}
		if s := c.published.Load(); s == nil || len(s.caches) != 2 {
			t.Errorf("published: %+v", s)
		}
		store.stale.Store(1000)
		if err := c.apply(t.Context(), addCache(2)); !isStale(err) {
			t.Errorf("a change that is refused always: %v", err)
		}
	})
}

func TestALookAtAllUsersEndsWithTheFirstThatHangs(t *testing.T) {
	onHanging(t, func(t *testing.T, r *rig, store *hangs, _ *collection) {
		r.server.Reload(snapshot(t, conf{"max_ccaches": "100"}))
		for uid := range uint32(5) {
			if err := r.server.users.of(2000+uid).apply(t.Context(), addCache(int(uid))); err != nil {
				t.Fatal(err)
			}
			r.server.evict(r.server.users.of(2000 + uid))
		}
		store.hanging.Store(true)
		began := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if err := r.server.takeCensus(t.Context()); err == nil {
					t.Error("a census of a store that hangs")
				}
			})
		}
		all.Wait()
		if waited := time.Since(began); waited > 31*time.Second {
			t.Errorf("ten logins wait %v for a census of five users", waited)
		}
		for what, look := range map[string]func(){
			"for a limit":  func() { r.server.purgeEveryone(t.Context()) },
			"by the clock": func() { r.server.purgeExpired(t.Context()) },
		} {
			began = time.Now()
			look()
			if waited := time.Since(began); waited > 31*time.Second {
				t.Errorf("a purge %s of five users waits %v", what, waited)
			}
		}
	})
}
