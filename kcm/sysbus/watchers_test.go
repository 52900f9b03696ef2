package sysbus

import (
	"fmt"
	"testing"

	"gosssd/responder/log"
)

func TestWhoIsToldIsBounded(t *testing.T) {
	t.Parallel()
	w := newWatchers()
	for i := range maxUserWatchers {
		if isNew, ok := w.add(fmt.Sprint(":1.", i), 1000); !isNew || !ok {
			t.Fatalf("connection %d is refused", i)
		}
	}
	if isNew, ok := w.add(":1.0", 1000); isNew || !ok {
		t.Error("who is subscribed may not subscribe again")
	}
	if _, ok := w.add(":1.x", 1000); ok {
		t.Error("one user has more connections than the bound")
	}
	for uid := uint32(2000); w.count.Load() < maxWatchers; uid++ {
		if _, ok := w.add(fmt.Sprint(":2.", uid), uid); !ok {
			t.Fatal("another user is refused")
		}
	}
	if _, ok := w.add(":3.0", 1); ok {
		t.Error("all users together have more connections than the bound")
	}
	if !w.remove(":1.0") || w.remove(":1.0") || len(w.of(1000)) != maxUserWatchers-1 {
		t.Error("a connection that has ended is not forgotten")
	}
	if _, ok := w.add(":3.0", 1); !ok {
		t.Error("its place is not given to another")
	}
	w.clear()
	if w.of(1000) != nil || w.count.Load() != 0 {
		t.Error("connections outlive the bus")
	}
}

// TestNobodyWaitsForTheBus: signals beyond the queue are left out.
func TestNobodyWaitsForTheBus(t *testing.T) {
	t.Parallel()
	b := New("/nonexistent", nil, log.Discard())
	b.watchers.add(":1.0", 1000)
	for range 2 * waitingSignals {
		b.Tell(1000, Changed, Cache{})
		b.Tell(1001, Changed, Cache{})
	}
	if len(b.signals) != waitingSignals {
		t.Errorf("%d signals wait", len(b.signals))
	}
}

func TestAUserHasFewCallsAtATime(t *testing.T) {
	t.Parallel()
	c := &calls{users: map[uint32]int{}}
	for range maxUserCalls {
		if !c.begin(1000) {
			t.Fatal("a call is refused")
		}
	}
	if c.begin(1000) || !c.begin(1001) {
		t.Error("the bound is not each user's own")
	}
	c.end(1000)
	if !c.begin(1000) {
		t.Error("a call that has ended counts")
	}
}
