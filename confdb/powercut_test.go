package confdb

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gosssd/linux/powercut"
)

// tracedRoot names the environment variable that makes the test binary commit
// some configurations.
const tracedRoot = "GOSSSD_TEST_TRACED_ROOT"

// TestTracedCommitter is no test but the process that
// TestAPowerCutLeavesAConfiguration traces.
func TestTracedCommitter(t *testing.T) {
	r := root(os.Getenv(tracedRoot))
	if r == "" {
		t.Skip("only run by TestAPowerCutLeavesAConfiguration")
	}
	for i := range 6 {
		r.write(t, "/etc/sssd/sssd.conf", fmt.Sprintf("[kcm]\nfd_limit = %d\n[domain/d]\nldap_uri = ldap://%s\n", 100+i, strings.Repeat("x", 9000)))
		s, err := r.good(t).Commit(r.path(databasePath))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("generation", s.Generation)
	}
}

// TestAPowerCutLeavesAConfiguration: whenever the power is cut, the database is
// there whole, and is what was committed last or came after it.
func TestAPowerCutLeavesAConfiguration(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("the test needs strace to see writes and syncs")
	}
	states := 200
	if text := os.Getenv("POWERCUT_STATES"); text != "" {
		if states, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	r, log := newRoot(t), filepath.Join(t.TempDir(), "trace")
	child := exec.Command(strace, append(powercut.Strace(log), os.Args[0], "-test.run", "^TestTracedCommitter$", "-test.v")...)
	child.Env = append(os.Environ(), tracedRoot+"="+string(r), "GORACE=atexit_sleep_ms=0")
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	trace, err := powercut.Read(log, filepath.Dir(r.path(databasePath)))
	if err != nil {
		t.Fatal(err)
	}
	if names, syncs, _ := trace.Count(); names != 12 || syncs != 12 {
		t.Fatalf("6 commits changed %d names and waited %d times for the disk", names, syncs)
	}
	dir := t.TempDir()
	for state := range trace.States(states, rand.New(rand.NewPCG(13, 14))) {
		if err := generationAfter(dir, state); err != nil {
			t.Errorf("after event %d: %v", state.After, err)
		}
	}
	for what, worse := range map[string]*powercut.Trace{"files": trace.Unsynced(false), "names": trace.Unsynced(true)} {
		if worse.Lost(100, rand.New(rand.NewPCG(13, 14)), func(state powercut.State) error { return generationAfter(dir, state) }) == 0 {
			t.Errorf("without syncs of %s nothing is lost: the cuts do not cut", what)
		}
	}
}

// generationAfter says what is wrong with the database after the power was cut.
func generationAfter(dir string, state powercut.State) error {
	if err := state.Write(dir); err != nil {
		return err
	}
	var committed uint64
	for line := range strings.Lines(state.Said) {
		_, _ = fmt.Sscanf(line, "generation %d", &committed) // other lines are not ours
	}
	s, err := Open(filepath.Join(dir, filepath.Base(databasePath)), testSchema())
	if errors.Is(err, fs.ErrNotExist) && committed == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if s.Generation < committed || s.Generation > committed+1 {
		return fmt.Errorf("generation %d is there, %d was committed", s.Generation, committed)
	}
	return nil
}
