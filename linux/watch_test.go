package linux

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAWatchTellsOfNamesThatComeAndGo(t *testing.T) {
	dir := t.TempDir()
	w, err := NewWatch(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	path := filepath.Join(dir, "x")
	for _, change := range []func() error{
		func() error { return os.WriteFile(path, nil, 0o600) },
		func() error { return os.Rename(path, path+".old") },
		func() error { return os.Remove(path + ".old") },
	} {
		go func() {
			if err := change(); err != nil {
				t.Error(err)
			}
		}()
		if !w.Wait(t.Context(), time.Minute) {
			t.Error("a change is not told of")
		}
	}
	for w.Wait(t.Context(), time.Millisecond) { // the second half of the move
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if w.Wait(ctx, time.Hour) {
		t.Error("a change is told of that was not")
	}
	if _, err := NewWatch(path); err == nil {
		t.Error("a directory that is missing can be watched")
	}
}
