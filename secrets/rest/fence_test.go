package rest

import (
	"context"
	"errors"
	"testing"

	"gosssd/secrets/client"
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
		all, err := c.Load(ctx, uid)
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
	if err := put(dead, 1000, "late"); !errors.As(err, &status) || status.Status != 412 || status.Quota() {
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

func TestALoadWaitsForTheChangeThatIsBeingMade(t *testing.T) {
	var f fences
	f.raise(1000, "first")
	making, raised := make(chan struct{}), make(chan struct{})
	go func() {
		<-making
		f.raise(1000, "second")
		close(raised)
	}()
	err := f.pass(1000, "first", func() error {
		close(making)
		select {
		case <-raised:
			t.Error("the load did not wait")
		default:
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	<-raised
	if err := f.pass(1000, "first", func() error { return nil }); !errors.Is(err, errLate) {
		t.Errorf("the second change: %v", err)
	}
}

func TestAServiceThatStartedAfterTheLoadTakesChanges(t *testing.T) {
	var f fences
	if err := f.pass(1000, "before my time", func() error { return nil }); err != nil {
		t.Error(err)
	}
	if err := f.pass(1000, "another", func() error { return nil }); !errors.Is(err, errLate) {
		t.Errorf("a second word: %v", err)
	}
}
