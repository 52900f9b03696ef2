package linux

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAFileThatLosesItsNameIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		do      func(path string) error
		noticed bool
	}{
		"it is unlinked while it is open": {os.Remove, true},
		"it is renamed":                   {func(p string) error { return os.Rename(p, p+".old") }, true},
		"another takes its name": {func(p string) error {
			if err := os.WriteFile(p+".new", nil, 0o600); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		}, true},
		"it is truncated":   {func(p string) error { return os.Truncate(p, 1) }, true},
		"it is only read":   {func(p string) error { _, err := os.ReadFile(p); return err }, false},
		"another one comes": {func(p string) error { return os.WriteFile(p+".other", nil, 0o600) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x")
			if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			open, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			w, err := NewFileWatch()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if err := w.Add(path); err != nil {
				t.Fatal(err)
			}
			if err := c.do(path); err != nil {
				t.Fatal(err)
			}
			if got := Readable(w.file); got != c.noticed {
				t.Fatalf("noticed %v, want %v", got, c.noticed)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if c.noticed {
				if err := w.Wait(ctx); err != nil {
					t.Error(err)
				}
			}
			if err := w.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("one event is told twice: %v", err)
			}
		})
	}
}

func TestAListeningSocketThatIsUnlinkedIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w, err := NewFileWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(path); err != nil {
		t.Fatal(err)
	}
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if Readable(w.file) {
		t.Error("a client is taken for a change")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !Readable(w.file) {
		t.Error("nothing is noticed")
	}
}
