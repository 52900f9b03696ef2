package tests

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gosssd/cmd/responders"
	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder"
)

// Exit codes of sssd(8).
const (
	exitOK     = 0
	exitUsage  = 1
	exitConfig = 3
)

// TestGenconfKilledAtAnyMomentLeavesTheOldDatabaseOrTheNew kills sssd --genconf
// 200 times beside a running sssd, half the time while the new database is
// being written.
func TestGenconfKilledAtAnyMomentLeavesTheOldDatabaseOrTheNew(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults).start()
	database := s.path(layout.Current().Database)
	beside := linux.Beside(database)
	s.configure(numbered(0))
	_, whole, code := s.sssdOnce("--genconf")
	if code != exitOK {
		t.Fatalf("sssd --genconf ends with %d", code)
	}
	random := rand.New(rand.NewPCG(7, 11))
	killed, within, renewed := 0, 0, 0
	before := s.database()
	for i := 1; i <= 200; i++ {
		s.configure(numbered(i))
		cmd := exec.Command(s.bin+"/sssd", "--genconf", "--root", s.root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		writing := false
		if i%2 == 0 {
			time.Sleep(time.Duration(random.Int64N(int64(whole + whole/4))))
		} else {
			await(func() bool {
				return writesUnnamed(cmd.Process.Pid, filepath.Dir(database)) || s.database().Generation > before.Generation
			})
			writing = true
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if cmd.ProcessState.ExitCode() < 0 {
			killed++
		}
		now := s.database()
		switch number := now.Section("kcm").Int("max_ccaches"); {
		case now.Generation == before.Generation && now.Hash == before.Hash:
			if writing {
				within++
			}
		case now.Generation == before.Generation+1 && number == int64(i) && now.Section("secrets").Int("max_secrets") == int64(i):
			renewed++
		default:
			t.Fatalf("round %d: %s is neither the old nor the new one: generation %d after %d, [kcm] max_ccaches = %d",
				i, database, now.Generation, before.Generation, number)
		}
		before = now
	}
	t.Logf("200 runs of sssd --genconf, %d ended by SIGKILL, %d of these within a commit; the new database was there %d times, else the old one", killed, within, renewed)
	if within == 0 || renewed == 0 || renewed == 200 {
		t.Error("the kills came too early or too late; the test shows nothing")
	}
	if err := os.WriteFile(beside, []byte("half a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.configure(numbered(1000)) // what has not changed would not be written
	if out := s.genconf(exitOK); out != "" || exists(beside) {
		t.Errorf("what a killed process has left is in the way of the next: %s", out)
	}
	expect(t, s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" status`), "sssd")
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

func TestGenconfSectionReplacesOneSection(t *testing.T) {
	t.Parallel()
	s := newSystem(t, numbered(1)).start()
	first := s.database()
	s.configure(numbered(2))
	s.genconf(exitOK, "--genconf-section=kcm")
	now := s.database()
	if now.Section("kcm").Int("max_ccaches") != 2 || now.Section("secrets").Int("max_secrets") != 1 || now.Generation != first.Generation+1 {
		t.Errorf("generation %d: %v", now.Generation, now.Show("kcm"))
	}
	if out := s.genconf(exitUsage, "--genconf-section=kmc"); !strings.Contains(out, "'kcm'") && !strings.Contains(out, "[kcm]") {
		t.Errorf("a section that does not exist: %s", out)
	}
	s.configure("[kcm]\nmax_ccaches = 3\n[secrets]\nmax_secrets = many\n") // the whole file is checked
	expect(t, s.genconf(exitConfig, "--genconf-section=kcm"), "sssd.conf:4: ", "many")
	if again := s.database(); again.Hash != now.Hash || again.Generation != now.Generation {
		t.Error("a bad file changes the database")
	}
	expect(t, s.genconf(exitConfig, "--config=/nonexistent"), "/nonexistent: file does not exist")
	s.kill(syscall.SIGTERM) // sssd would restore the database
	if err := os.Remove(s.path(layout.Current().Database)); err != nil {
		t.Fatal(err)
	}
	s.configure(numbered(4))
	s.genconf(exitOK, "--genconf-section=kcm")
	if s.database().Section("secrets").Int("max_secrets") != 4 {
		t.Error("one section alone was put into a new database")
	}
}

// TestARunningSystemKeepsItsConfigurationUnderGenconf guards that rebuilding
// the database disturbs nobody.
func TestARunningSystemKeepsItsConfigurationUnderGenconf(t *testing.T) {
	t.Parallel()
	s := newSystem(t, numbered(1)).start()
	s.wake("")
	before := s.inForce()
	s.configure(numbered(2))
	s.genconf(exitOK)
	if !equal(s.inForce(), before) {
		t.Error("the options in force change")
	}
	for line := range strings.Lines(s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" status`)) {
		if fields := strings.Fields(line); slices.Contains(fields, "running") && fields[5] != "1" {
			t.Errorf("it runs with another generation than 1: %s", line)
		}
	}
	expect(t, s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" config-show kcm`), "max_ccaches = 2")
}

// numbered is a configuration that can be told from others of its kind, and
// large enough for the writing to take its time.
func numbered(n int) string {
	return fmt.Sprintf("[kcm]\nmax_ccaches = %d\n[secrets]\nmax_secrets = %d\n[domain/big]\nldap_uri = %s\n", n, n, strings.Repeat("x", 50000))
}

// database reads the configuration database, which must be there and whole.
func (s *system) database() *confdb.Snapshot {
	s.t.Helper()
	snapshot, err := confdb.Open(s.path(layout.Current().Database), responder.Schema(responders.List()))
	if err != nil {
		s.t.Fatal(err)
	}
	return snapshot
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// await returns when something is so, or after a minute.
func await(so func() bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !so() && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}
