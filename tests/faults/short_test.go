package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNothingIsLostUnderFaults is the part histories in short: one fault of each
// kind, and one again.
func TestNothingIsLostUnderFaults(t *testing.T) {
	t.Parallel()
	if out, err := runHistories(t, "-cycles", "9"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestWhatAServerLosesIsFound has caches in memory only, which a kill loses.
func TestWhatAServerLosesIsFound(t *testing.T) {
	t.Parallel()
	out, err := runHistories(t, "-cycles", "2", "-storage", "memory")
	if err == nil || !strings.Contains(out, "older than what was acknowledged") {
		t.Errorf("nothing was found: %v\n%s", err, out)
	}
}

func runHistories(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root, for mounts and for clients of several users")
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "sssd_kcm")); err != nil {
		t.Skipf("SKIPPED: needs the programs of make build: %v", err)
	}
	program := filepath.Join(t.TempDir(), "faults")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	args = append([]string{"-bin", bin, "-tests", "..", "-parts", "histories", "-side", "gosssd"}, args...)
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	return string(out), err
}
