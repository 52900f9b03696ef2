package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// loud says that each system and machine logs all there is, so that a run of all
// tests shows that no log has a secret: LOUD=yes go test ./tests
var loud = os.Getenv("LOUD") != ""

// needDefaultLevel leaves a test of what is logged at other levels, or of the
// level itself, out of a loud run.
func needDefaultLevel(t *testing.T) {
	t.Helper()
	if loud {
		skip(t, "LOUD is set, and it is about other levels")
	}
}

// loudSnippet has a machine's services log all there is.
const loudSnippet = "[sssd]\ndebug_level = 10\n[kcm]\ndebug_level = 10\n[secrets]\ndebug_level = 10\n"

// searched counts what was looked through for secrets.
var searched search

type search struct {
	mu                            sync.Mutex
	systems, logs, bytes, secrets int
}

func (s *search) add(logs, bytes, secrets int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.systems++
	s.logs += logs
	s.bytes += bytes
	s.secrets += secrets
}

// tell tells how much was looked through.
func (s *search) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(os.Stderr, "LOOKED THROUGH %d logs of %d systems, %d bytes, for %d secrets\n", s.logs, s.systems, s.bytes, s.secrets)
}

// leaks says which secrets the logs and the journal of a machine show. It looks
// in loud runs only, for which it copies them out of the machine.
func (m *machine) leaks() []string {
	m.t.Helper()
	if !loud {
		return nil
	}
	dir, err := os.MkdirTemp("", "gosssd-machine-")
	if err != nil {
		m.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	// What a test has removed, as the whole machine, has nothing to tell.
	_, _ = m.try(0, `journalctl -o export >/var/log/sssd/journal`)
	packed, err := exec.Command("nsenter", "--target", m.pid, "--all", "tar", "-C", "/", "-c", "--ignore-failed-read",
		"var/log/sssd", "var/lib/sss/secrets").Output()
	if err != nil && len(packed) == 0 {
		return nil
	}
	archive := filepath.Join(dir, "machine.tar")
	if err := os.WriteFile(archive, packed, 0o600); err != nil {
		m.t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", dir, "-xf", archive).CombinedOutput(); err != nil {
		m.t.Fatalf("tar: %v\n%s", err, out)
	}
	return (&system{t: m.t, root: dir}).leaks()
}

// TestTheLogsOfAMachineAreLookedThrough plants a key of the vault into the
// journal.
func TestTheLogsOfAMachineAreLookedThrough(t *testing.T) {
	t.Parallel()
	if !loud {
		skip(t, "LOUD is not set: no logs of machines are looked through")
	}
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, kinit)
	if said := m.leaks(); said != nil {
		t.Fatalf("the logs of the product: %v", said)
	}
	m.planted = true
	m.sh(0, `od -An -v -tx1 /var/lib/sss/secrets/.secrets.mkey | tr -d ' \n' | logger; journalctl --sync`)
	if said := m.leaks(); len(said) == 0 {
		t.Error("a key in the journal is not found")
	}
}
