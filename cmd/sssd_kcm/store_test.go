package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"gosssd/secrets/vault"
)

// TestCachesAreLoadedWhileTheVaultIsRekeyed: a rekey changes every record, and
// none of what they say.
func TestCachesAreLoadedWhileTheVaultIsRekeyed(t *testing.T) {
	h, err := vault.OpenHive(t.TempDir(), "kcm", vault.Options{File: "kcm.db", OwnerUID: uint32(os.Geteuid())})
	if err != nil {
		t.Fatal(err)
	}
	store := hive{Hive: h}
	defer store.Close()
	changes := map[string][]byte{}
	for i := range 4000 {
		changes[fmt.Sprint("ccache/x/", i)] = make([]byte, 1000)
	}
	if err := store.Commit(t.Context(), 1000, changes); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- store.Rekey(context.Background()) }()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		n := 0
		err := store.Load(t.Context(), 1000, func(string, []byte) error {
			n++
			return nil
		})
		if err != nil || n != len(changes) {
			t.Errorf("%d of %d records are loaded, %v", n, len(changes), err)
		}
	}
}
