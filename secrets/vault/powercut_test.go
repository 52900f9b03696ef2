package vault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gosssd/linux/powercut"
)

// aLife is the load of the power cut: everything that writes to a vault's
// directory, little enough to be traced.
func aLife(dir string) error {
	opts := testOptions()
	opts.journalSize = 16 << 10 // so that it is full now and then
	v, err := Open(dir, opts)
	if err != nil {
		return err
	}
	if err := commitNumbers(v, 10); err != nil {
		return err
	}
	if err := v.Rekey(ctx); err != nil {
		return err
	}
	for _, value := range [][]byte{make([]byte, 3<<19), nil} { // leaves room that is worth a compaction
		if err := v.Hive("kcm").Commit(ctx, 99, map[string][]byte{"big": value}); err != nil {
			return err
		}
	}
	if err := v.Close(); err != nil {
		return err
	}
	opts.journalSize = 24 << 10
	if err := os.Remove(filepath.Join(dir, "secrets.db.journal")); err != nil { // so that another is made
		return err
	}
	if v, err = Open(dir, opts); err != nil {
		return err
	}
	if err := commitNumbers(v, 5); err != nil {
		return err
	}
	return v.Close()
}

// powerCuts is how many states of the disk are tried; POWERCUT_STATES asks for
// more.
func powerCuts(t *testing.T, usual int) int {
	t.Helper()
	text := os.Getenv("POWERCUT_STATES")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// traced runs a child under strace and returns what it did.
func traced(t *testing.T, work string, more ...string) *powercut.Trace {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("the test needs strace to see writes and syncs")
	}
	log, dir := filepath.Join(t.TempDir(), "trace"), t.TempDir()
	child := exec.Command(strace, append(append(powercut.Strace(log), more...), os.Args[0], dir)...)
	child.Env = append(os.Environ(), childVariable+"="+work, "GORACE=atexit_sleep_ms=0")
	if out, err := child.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "PTRACE") {
			t.Skipf("the test needs a strace that may trace: %.300s", out)
		}
		t.Fatalf("%v: %.300s", err, out)
	}
	trace, err := powercut.Read(log, dir)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// TestAPowerCutLosesNothingAcknowledged plays what a child asked of its disk, as
// strace saw it, and cuts the power at many places: what was synced is there,
// and of what was not, any part of its sectors, and any of the last names.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	trace := traced(t, "life")
	if names, syncs, _ := trace.Count(); names < 8 || syncs < 40 {
		t.Fatalf("the trace is not complete: %d names, %d syncs", names, syncs)
	}
	dir := t.TempDir()
	for state := range trace.States(powerCuts(t, 200), rand.New(rand.NewPCG(9, 10))) {
		if err := numbersAfter(dir, state); err != nil {
			t.Errorf("after event %d: %v", state.After, err)
		}
	}
	// The same cuts must show what is lost when nothing waits for the disk.
	for what, worse := range map[string]*powercut.Trace{"files": trace.Unsynced(false), "names": trace.Unsynced(true)} {
		if worse.Lost(40, rand.New(rand.NewPCG(9, 10)), func(state powercut.State) error { return numbersAfter(dir, state) }) == 0 {
			t.Errorf("without syncs of %s nothing is lost: the cuts do not cut", what)
		}
	}
}

// numbersAfter says what is wrong with the vault after the power was cut.
func numbersAfter(dir string, state powercut.State) error {
	if err := state.Write(dir); err != nil {
		return err
	}
	acknowledged := map[uint32]int{}
	for line := range strings.Lines(state.Said) {
		var uid uint32
		var n int
		if _, err := fmt.Sscan(line, &uid, &n); err == nil {
			acknowledged[uid] = n
		}
	}
	v, err := Open(dir, unsynced())
	if err != nil {
		return err
	}
	defer v.Close()
	for uid := range uint32(crashWriters) {
		if n, err := stored(v.Hive("kcm"), uid); err != nil || n < acknowledged[uid] {
			return fmt.Errorf("uid %d has %d, %w, but %d was acknowledged", uid, n, err, acknowledged[uid])
		}
	}
	return nil
}
