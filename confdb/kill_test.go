package confdb

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gosssd/linux"
)

// committerRoot names the environment variable that makes the test binary
// commit until it is killed.
const committerRoot = "GOSSSD_TEST_COMMITTER_ROOT"

const domains = 4

// TestCommitter is no test but the process that TestKilledWhileCommitting
// kills: it commits two configurations in turn and tells each generation.
func TestCommitter(t *testing.T) {
	r := root(os.Getenv(committerRoot))
	if r == "" {
		t.Skip("only run by TestKilledWhileCommitting")
	}
	var configs []*Config
	for _, limit := range []string{"100", "200"} {
		text := "[kcm]\nfd_limit = " + limit + "\n"
		for i := range domains { // large enough for the writing to take its time
			text += fmt.Sprintf("[domain/d%d]\nldap_uri = ldap://%s\n", i, strings.Repeat("x", 50000))
		}
		r.write(t, "/etc/sssd/sssd.conf", text)
		configs = append(configs, r.good(t))
	}
	for i := 0; ; i++ {
		s, err := configs[i%2].Commit(r.path(databasePath))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(s.Generation)
	}
}

// TestKilledWhileCommitting kills a committing process at random moments: the
// database must be whole every time, and hold what was acknowledged last or
// what came after it.
func TestKilledWhileCommitting(t *testing.T) {
	r := newRoot(t)
	random := rand.New(rand.NewPCG(3, 4))
	within := 0
	moment := [2]func(pid int){
		func(int) { time.Sleep(time.Duration(random.IntN(5000)) * time.Microsecond) }, // any moment
		func(pid int) { // one at which the new database is being built
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
				if writesUnnamed(pid, filepath.Dir(r.path(databasePath))) {
					within++
					return
				}
			}
		},
	}
	for i := range 50 {
		acknowledged := killCommitter(t, r, moment[i%2])
		s := open(t, r)
		if s.Generation < acknowledged || s.Generation > acknowledged+1 {
			t.Fatalf("generation %d is there, %d was acknowledged", s.Generation, acknowledged)
		}
		if limit := s.Section("kcm").Int("fd_limit"); limit != 100 && limit != 200 || len(s.Sections("domain/")) != domains {
			t.Fatalf("the database is neither of the two: fd_limit %d, %d domains", limit, len(s.Sections("domain/")))
		}
		names, err := os.ReadDir(filepath.Dir(r.path(databasePath)))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if path := filepath.Join(filepath.Dir(r.path(databasePath)), name.Name()); path != r.path(databasePath) && path != linux.Beside(r.path(databasePath)) {
				t.Errorf("litter: %s", path)
			}
		}
	}
	if within == 0 {
		t.Error("no process was killed within a commit; the test shows nothing")
	}
	t.Logf("50 processes killed, %d of them within a commit", within)
}

// writesUnnamed reports whether a process has a file open in dir that has no
// name yet.
func writesUnnamed(pid int, dir string) bool {
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(fds)
	for _, entry := range entries {
		to, _ := os.Readlink(filepath.Join(fds, entry.Name()))
		if strings.HasPrefix(to, dir+"/#") {
			return true
		}
	}
	return false
}

// killCommitter kills a process that commits when moment returns. It returns
// the last generation that was acknowledged.
func killCommitter(t *testing.T, r root, moment func(pid int)) (acknowledged uint64) {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^TestCommitter$")
	command.Env = append(os.Environ(), committerRoot+"="+string(r))
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	read := func() bool {
		if !lines.Scan() {
			return false
		}
		if acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Errorf("the committer says %q", lines.Text())
		}
		return true
	}
	read() // it is at work
	moment(command.Process.Pid)
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for read() {
	}
	command.Wait() // it was killed
	return acknowledged
}
