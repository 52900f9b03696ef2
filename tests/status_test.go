package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// soon waits until something is so, and fails the test if it never is.
func soon(t testing.TB, so func() bool, what func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what())
		}
	}
}

// awaitStatus runs sssctl status until it ends with the code and says want.
func (s *system) awaitStatus(code int, want ...string) said {
	s.t.Helper()
	var got said
	soon(s.t, func() bool {
		got = s.ctl(user(os.Getuid()), "", "status")
		for _, text := range want {
			if !strings.Contains(got.stdout+got.stderr, text) {
				return false
			}
		}
		return got.code == code
	}, func() string { return fmt.Sprintf("status: want %d and %q, got %+v", code, want, got) })
	return got
}

func TestStatusTellsWhatIsWell(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	if got := s.ctl(user(os.Getuid()), "", "status"); got != (said{stderr: "SSSD is not running.\n", code: 3}) {
		t.Errorf("before sssd runs: %+v", got)
	}
	s.start()
	s.wake("")
	got := s.awaitStatus(0, "secrets  running", "kcm      running", "devel")
	if got.stderr != "" {
		t.Errorf("where all is well: %+v", got)
	}
	refuse(t, s.log("sssd_secrets"), "refused") // the question of status itself
	s.kill(syscall.SIGKILL)
	s.awaitStatus(3, "kcm      running without sssd", "SSSD is not running.")
}

// TestStatusTellsWhatIsDone has a user at a limit, a socket of its own and files
// that were changed.
func TestStatusTellsWhatIsDone(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	const text = "[kcm]\nmax_uid_ccaches = 1\n[kcm/socket app]\npath = /run/app.sock\nuser = 1234\n"
	s.configure(text)
	s.start()
	if err := s.kcm().Initialize(fmt.Sprint(os.Getuid()), principal("alice")); err != nil {
		t.Fatal(err)
	}
	s.awaitStatus(0, "Configuration: in force", "app              1234  0        "+s.path("/run/app.sock"), "initialize ", "Next purge: ",
		fmt.Sprintf("User %d has used 100 %% of max_uid_ccaches", os.Getuid()))
	s.configure(text + "[secrets]\nmax_secrets = 5\n")
	var answer struct {
		Well          bool
		Configuration string
		Services      []struct{ Name, State string }
		Responders    []struct {
			Name     string
			Requests uint64
		}
		FullestUsers []struct{ Part float64 } `json:"fullest_users"`
	}
	if err := json.Unmarshal([]byte(s.ctl(user(os.Getuid()), "", "status", "-j").stdout), &answer); err != nil {
		t.Fatal(err)
	}
	if !answer.Well || answer.Configuration != "files are newer" || len(answer.Services) != 3 || len(answer.Responders) != 2 ||
		answer.Responders[1].Requests == 0 || answer.FullestUsers[0].Part != 1 {
		t.Errorf("%+v", answer)
	}
	s.configure("[kcm]\nmax_uid_ccaches = many\n")
	s.awaitStatus(0, "Configuration: files are wrong")
}

func TestStatusDoesNotCallWellWhatAnswersNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[kcm]\ntimeout = 1000\n").start()
	s.wake("")
	s.awaitStatus(0, "kcm      running")
	pid := s.pid("sssd_secrets")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	got := s.ctl(user(os.Getuid()), "", "status")
	if got.code != 1 {
		t.Errorf("a responder that is stopped: %+v", got)
	}
	expect(t, got.stderr, "secrets is not well: it does not answer requests")
}

func TestAResponderThatCannotStartAnswersAndItsReasonIsRead(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(s *system){
		"its lock file is a directory": func(s *system) {
			if err := os.MkdirAll(s.path("/run/sssd_kcm.pid"), 0o755); err != nil {
				t.Fatal(err)
			}
		},
		"its program is missing": func(s *system) { s.configure("[kcm]\ncommand = " + s.root + "/sssd_kcm\n") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, "[sssd]\n")
			if strings.Contains(name, "program") {
				s.write("/sssd_kcm", "#!/bin/sh\nexec "+s.bin+"/sssd_kcm --root="+s.root+"\n", 0o755)
			}
			breakIt(s)
			s.start()
			_ = os.Remove(s.path("/sssd_kcm"))
			reply, err := s.kcm().Call(protocol.OpGetDefaultCache, nil)
			if err == nil || !strings.Contains(err.Error(), fmt.Sprint(int(protocol.Unavailable))) {
				t.Errorf("reply %q, error %v; want code %d", reply, err, protocol.Unavailable)
			}
			s.awaitStatus(1, "kcm is not well: it cannot be started")
			expect(t, s.log("sssd"), "a responder has ended", "kcm")
		})
	}
}

func TestAStoreThatCannotStartIsAnErrorForTheClient(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	if err := os.MkdirAll(s.path("/run/sssd_secrets.pid"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.start()
	if err := s.kcm().Initialize(fmt.Sprint(os.Getuid()), principal("alice")); err == nil {
		t.Error("a cache is stored nowhere")
	}
	got := s.sh(user(os.Getuid()), `curl -s -o /dev/null -w '%{http_code}' --unix-socket "$ROOT/var/run/secrets.socket" -H 'Content-Type: application/json' http://localhost/secrets/`)
	if got != "503" {
		t.Errorf("HTTP status %s, want 503", got)
	}
	s.awaitStatus(1, "secrets is not well: it cannot be started")
}

func TestADamagedDatabaseIsRestoredWhileSssdRuns(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(path string) error{
		"truncated": func(p string) error { return os.Truncate(p, 30) },
		"removed":   os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, "[kcm]\nccache_storage = memory\n").start()
			if err := damage(s.path("/var/lib/sss/db/config.db")); err != nil {
				t.Fatal(err)
			}
			// A responder that starts now has the configuration all the same.
			if err := s.kcm().Initialize(fmt.Sprint(os.Getuid()), principal("alice")); err != nil {
				t.Fatal(err)
			}
			if s.pid("sssd_secrets") != 0 {
				t.Error("caches that are to be in memory only are on disk")
			}
			s.awaitLog("sssd", "is restored")
		})
	}
}

func TestADeletedSocketIsThereAgain(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[kcm]\nccache_storage = memory\n").start()
	name := fmt.Sprint(os.Getuid())
	if err := s.kcm().Initialize(name, principal("alice")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/var/run/.heim_org.h5l.kcm-socket", "/var/lib/sss/pipes/private/sbus-monitor"} {
		if err := os.Remove(s.path(path)); err != nil {
			t.Fatal(err)
		}
		soon(t, func() bool {
			_, err := os.Stat(s.path(path))
			return err == nil
		}, func() string { return path + " is gone" })
	}
	// It is the same one: what its responder has in memory can be reached.
	if _, err := s.kcm().Call(protocol.OpGetPrincipal, protocol.AppendName(nil, name)); err != nil {
		t.Error(err)
	}
	s.awaitStatus(0, "kcm      running")
}

func TestARefusedConfigurationIsInTheLogOfSssd(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[kcm]\ndebug_levl = 3\n")
	for _, args := range [][]string{{"-i", "--logger=files"}, {"-D"}} {
		_ = os.Remove(s.path("/var/log/sssd/sssd.log"))
		out, err := exec.Command(s.bin+"/sssd", append(args, "--root", s.root)...).CombinedOutput()
		if err == nil {
			t.Fatalf("sssd %v starts: %s", args, out)
		}
		expect(t, string(out), "/sssd.conf:2: ", "debug_levl")
		expect(t, s.log("sssd"), "cannot start", "/sssd.conf:2: ", "debug_levl")
	}
}
