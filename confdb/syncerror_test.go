package confdb

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// failingRoot names the environment variable that makes the test binary commit
// one configuration three times.
const failingRoot = "GOSSSD_TEST_FAILING_ROOT"

// TestFailingCommitter is no test but the process whose syncs
// TestAnErrorOfASyncIsTold makes fail.
func TestFailingCommitter(t *testing.T) {
	r := root(os.Getenv(failingRoot))
	if r == "" {
		t.Skip("only run by TestAnErrorOfASyncIsTold")
	}
	runtime.LockOSThread() // strace counts the calls of each thread
	config := r.good(t)
	for range 3 {
		if _, err := config.Commit(r.path(databasePath)); err != nil {
			fmt.Println("failed:", err)
		} else {
			fmt.Println("committed")
		}
	}
}

// TestAnErrorOfASyncIsTold: a commit that finds its database in place, put there
// by one whose sync failed, waits for the disk like that one.
func TestAnErrorOfASyncIsTold(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("the test needs strace to make syncs fail")
	}
	for when, want := range map[string]string{
		"1":    "failed committed committed", // of the file
		"2":    "failed committed committed", // of its name
		"2..3": "failed failed committed",
		"9":    "committed committed committed",
	} {
		r := newRoot(t)
		r.write(t, "/etc/sssd/sssd.conf", "[kcm]\nfd_limit = 100\n")
		child := exec.Command(strace, "-f", "--seccomp-bpf", "-qq", "-o", os.DevNull, "-e", "signal=none", "-e", "trace=fsync",
			"-e", "inject=fsync:error=EIO:when="+when, os.Args[0], "-test.run", "^TestFailingCommitter$", "-test.v")
		child.Env = append(os.Environ(), failingRoot+"="+string(r), "GORACE=atexit_sleep_ms=0")
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var got []string
		for line := range strings.Lines(string(out)) {
			if word, _, _ := strings.Cut(strings.TrimSpace(line), ":"); word == "failed" || word == "committed" {
				got = append(got, word)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("syncs %s fail: %v, want %s\n%s", when, got, want, out)
		}
	}
}
