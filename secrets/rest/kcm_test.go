package rest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"gosssd/secrets/client"
)

// recordsOf returns what a user's records are.
func recordsOf(c *client.Client, uid uint32) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := c.Load(context.Background(), uid, func(key string, value []byte) error {
		all[key] = value
		return nil
	})
	return all, err
}

// kcmClient is sssd_kcm's client of a service.
func kcmClient(t testing.TB, s *testServer) *client.Client {
	t.Helper()
	s.setPeer(uint32(os.Geteuid()))
	c := client.New(s.path)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestCachesAreKeptForTheKCMService(t *testing.T) {
	c := kcmClient(t, serve(t, nil))
	ctx := context.Background()
	changes := map[string][]byte{"default": make([]byte, 16), "ccache/u": []byte("header"), "ccache/u/0001": make([]byte, 200000), "empty": {}}
	if err := c.Commit(ctx, 1000, changes); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(ctx, 1001, map[string][]byte{"default": {1}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(ctx, 1000, map[string][]byte{"empty": nil, "never": nil}); err != nil {
		t.Fatal(err)
	}
	delete(changes, "empty")
	all, err := recordsOf(c, 1000)
	if err != nil || !maps.EqualFunc(all, changes, slices.Equal) {
		t.Errorf("%d records, %v", len(all), err)
	}
	if owners, err := c.Owners(ctx); err != nil || fmt.Sprint(owners) != "[1000 1001]" {
		t.Errorf("owners %v, %v", owners, err)
	}
	if all, err := recordsOf(c, 1); err != nil || len(all) != 0 {
		t.Errorf("records of nobody are %v, %v", all, err)
	}
}

func TestCachesAreCountedOnceWithAllTheirTickets(t *testing.T) {
	c := kcmClient(t, serve(t, sections{"secrets/kcm": {"max_uid_secrets": "2", "max_payload_size": "1"}}))
	ctx := context.Background()
	commit := func(changes map[string][]byte) error { return c.Commit(ctx, 1000, changes) }
	for i := range 5 {
		if err := commit(map[string][]byte{"default": make([]byte, 16), "ccache/a": {1}, fmt.Sprint("ccache/a/", i): make([]byte, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := commit(map[string][]byte{"ccache/a/more": make([]byte, 600)}); !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("a cache that is too large: %v", err)
	}
	if err := commit(map[string][]byte{"ccache/b": {1}}); err != nil {
		t.Fatal(err)
	}
	err := commit(map[string][]byte{"ccache/c": {1}, "ccache/a/0": nil})
	var refused interface{ Quota() bool }
	if !errors.Is(err, client.ErrQuota) || !errors.As(err, &refused) || !refused.Quota() {
		t.Errorf("a cache too many: %v", err)
	}
	if all, err := recordsOf(c, 1000); err != nil || all["ccache/a/0"] == nil || all["ccache/c"] != nil {
		t.Errorf("a refused batch was made in part: %v", err)
	}
	if err := commit(map[string][]byte{"ccache/c": {1}, "ccache/b": nil}); err != nil {
		t.Errorf("one for another: %v", err)
	}
}

func TestABatchThatIsFarTooLargeIsRefusedEarly(t *testing.T) {
	c := kcmClient(t, serve(t, sections{"secrets/kcm": {"max_payload_size": "1"}}))
	err := c.Commit(context.Background(), 1000, map[string][]byte{"ccache/a": make([]byte, 8<<20)})
	if !errors.Is(err, client.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}
