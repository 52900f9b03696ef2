package responder

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// holder opens a holding that notes whether its connection is dropped.
func holder(t *testing.T, b *Budget, uid uint32) (h *Holding, dropped *atomic.Bool) {
	dropped = &atomic.Bool{}
	h = b.Open(uid, func() { dropped.Store(true) })
	t.Cleanup(h.Close)
	return h, dropped
}

func TestAUserWaitsForOwnMemoryAndNobodyElseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(100, 40)
		first, dropped := holder(t, b, 1000)
		second, _ := holder(t, b, 1000)
		other, _ := holder(t, b, 1001)
		for _, h := range []*Holding{first, other} {
			if err := h.Take(30, time.Second); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := second.Take(30, time.Second); !errors.Is(err, ErrBudget) || time.Since(began) != time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := second.Take(30, time.Minute); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		first.Free()
		waiting.Wait()
		if dropped.Load() || b.Peak() != 60 {
			t.Errorf("dropped %v, peak %d", dropped.Load(), b.Peak())
		}
	})
}

func TestTheGreediestLosesItsOldestConnection(t *testing.T) {
	b := NewBudget(100, 60)
	oldest, gone := holder(t, b, 1000)
	newest, stays := holder(t, b, 1000)
	lesser, lesserGone := holder(t, b, 1001)
	if err := lesser.Take(40, 0); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*Holding{oldest, newest} {
		if err := h.Take(30, 0); err != nil {
			t.Fatal(err)
		}
	}
	modest, _ := holder(t, b, 1002)
	if err := modest.Take(20, 0); err != nil {
		t.Fatal(err)
	}
	if !gone.Load() || stays.Load() || lesserGone.Load() || !oldest.Dropped() || newest.Dropped() {
		t.Errorf("dropped: oldest %v, newest %v, of the lesser user %v", gone.Load(), stays.Load(), lesserGone.Load())
	}
	greedy, _ := holder(t, b, 1003)
	if err := greedy.Take(60, 0); !errors.Is(err, ErrBudget) {
		t.Errorf("who wants more than anybody has gets it: %v", err)
	}
}

func TestABudgetIsNeverExceeded(t *testing.T) {
	b := NewBudget(100, 60)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for range 200 {
				h := b.Open(uint32(i%7), func() {})
				if h.Take(int64(1+i*2), time.Minute) == nil {
					h.Free()
				}
				h.Close()
			}
		})
	}
	all.Wait()
	if peak := b.Peak(); peak > 100 || b.used != 0 || len(b.accounts) != 0 || len(b.waiting) != 0 {
		t.Errorf("peak %d, used %d, accounts %v, waiting %d", peak, b.used, b.accounts, len(b.waiting))
	}
}

func TestTakingDoesNotAllocate(t *testing.T) {
	b := NewBudget(100, 60)
	h, _ := holder(t, b, 1000)
	if n := testing.AllocsPerRun(100, func() { _ = h.Take(10, 0); h.Free() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
