package rest

import (
	"context"
	"errors"
	"testing"

	"gosssd/secrets/client"
	"gosssd/secrets/records"
)

func TestChangesThatBuildOnAnEarlierLoadAreRefused(t *testing.T) {
	s := serve(t, nil)
	dead, living := kcmClient(t, s), kcmClient(t, s)
	ctx := context.Background()
	put := func(c *client.Client, uid uint32, key string) error {
		return c.Commit(ctx, uid, map[string][]byte{key: {1}})
	}
	load := func(c *client.Client, uid uint32) map[string][]byte {
		t.Helper()
		all, err := recordsOf(c, uid)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	load(dead, 1000)
	if err := put(dead, 1000, "before"); err != nil {
		t.Fatal(err)
	}
	if all := load(living, 1000); all["before"] == nil {
		t.Error("what was changed before the load is not in it")
	}
	var status *client.StatusError
	if err := put(dead, 1000, "late"); !errors.As(err, &status) || !status.Stale() || status.Quota() {
		t.Errorf("a late change: %v", err)
	}
	if err := put(living, 1000, "after"); err != nil {
		t.Errorf("a change that builds on the last load: %v", err)
	}
	if err := put(dead, 1001, "another user"); err != nil {
		t.Errorf("a change of another user's records: %v", err)
	}
	if all := load(dead, 1000); all["late"] != nil || all["after"] == nil {
		t.Errorf("the late change was made, or the other was not: %v", all)
	}
	if err := put(dead, 1000, "again"); err != nil {
		t.Errorf("after a load of its own: %v", err)
	}
}

func staying() bool { return false }

func TestALoadWaitsForTheChangeThatIsBeingMade(t *testing.T) {
	var f fences
	first, second := records.Token{1}, records.Token{2}
	if err := f.raise(1000, first, staying); err != nil {
		t.Fatal(err)
	}
	making, raised := make(chan struct{}), make(chan error, 1)
	go func() {
		<-making
		raised <- f.raise(1000, second, staying)
	}()
	err := f.pass(1000, first, func() error {
		close(making)
		select {
		case <-raised:
			t.Error("the load did not wait")
		default:
		}
		return nil
	})
	if err := errors.Join(err, <-raised); err != nil {
		t.Error(err)
	}
	if err := f.pass(1000, first, func() error { return nil }); !errors.Is(err, errStale) {
		t.Errorf("the second change: %v", err)
	}
}

func TestAServiceThatStartedAfterTheLoadTakesChanges(t *testing.T) {
	var f fences
	if err := f.pass(1000, records.Token{1}, func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := f.pass(1000, records.Token{2}, func() error { return nil }); !errors.Is(err, errStale) {
		t.Errorf("a second token: %v", err)
	}
}

// A load that its client no longer waits for lies in the socket of a service
// that hung, and is read when that goes on: after the client's next load.
func TestALateLoadDoesNotShutOutALaterOne(t *testing.T) {
	s := serve(t, nil)
	living := kcmClient(t, s)
	late := dialRecords(t, s)
	fence := s.local.fences.of(1000)
	fence.mu.Lock() // the service hangs over the first load
	late.send(loadRequest(1000, records.Token{1}))
	waitFor(t, func() bool { return s.requests.Load() == 2 }) // the upgrade, and the load
	late.Close()
	fence.mu.Unlock()
	if _, err := recordsOf(living, 1000); err != nil {
		t.Fatal(err)
	}
	late = dialRecords(t, s)
	fence.mu.Lock() // once more, so that the service sees the load when its sender is gone
	late.send(loadRequest(1000, records.Token{2}))
	waitFor(t, func() bool { return s.requests.Load() == 6 })
	late.Close()
	fence.mu.Unlock()
	if err := living.Commit(context.Background(), 1000, map[string][]byte{"a": {1}}); err != nil {
		t.Errorf("a change that builds on the last load of the living: %v", err)
	}
}
