package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// ownPrograms gives the system copies of the programs, which a test may
// replace.
func (s *system) ownPrograms() *system {
	s.t.Helper()
	s.bin = s.path("/bin")
	s.sh(user(os.Getuid()), `cp -r "$BIN" "$ROOT/bin"`)
	return s
}

// upgrade replaces a program as a package manager does.
func (s *system) upgrade(program string) {
	s.t.Helper()
	s.sh(user(os.Getuid()), fmt.Sprintf(`cd "$ROOT/bin"; cp %s new; mv new %s`, program, program))
}

func TestARestartTakesUpgradedProgramsIntoUse(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults).ownPrograms().start()
	s.wake("")
	kcm, secrets := s.pid("sssd_kcm"), s.pid("sssd_secrets")
	s.upgrade("sssd_kcm")
	s.upgrade("sssd")
	got := s.awaitStatus(0, "devel (replaced)")
	if n := strings.Count(got.stdout, "(replaced)"); n != 2 {
		t.Errorf("%d programs are said to be replaced:\n%s", n, got.stdout)
	}
	if got := s.ctl(user(os.Getuid()), "", "restart"); got != (said{}) { // sssd.conf is what it was
		t.Errorf("restart: %+v", got)
	}
	s.wake("")
	if s.pid("sssd_kcm") == kcm || s.pid("sssd_secrets") != secrets {
		t.Errorf("kcm was %d and is %d, secrets was %d and is %d; only kcm was to be replaced", kcm, s.pid("sssd_kcm"), secrets, s.pid("sssd_secrets"))
	}
	refuse(t, s.awaitStatus(0, "devel").stdout, "replaced")
}

func TestARestartTellsWhatIsNotInForce(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[kcm]\nccache_storage = memory\n").ownPrograms().start()
	s.wake("")
	s.upgrade("sssd_kcm")
	s.configure("[kcm]\nccache_storage = memory\nfd_limit = 512\n")
	got := s.ctl(user(os.Getuid()), "", "restart")
	if got.code != 1 {
		t.Errorf("%+v", got)
	}
	expect(t, got.stdout, "kcm goes on", "not in force: [kcm] fd_limit", "old program, version devel")
	s.configure("[kcm]\nfd_limt = 512\n")
	got = s.ctl(user(os.Getuid()), "", "restart")
	if got.code != 1 {
		t.Errorf("%+v", got)
	}
	expect(t, got.stderr, "sssd goes on as it is", "sssd.conf:2: ")
	refuse(t, got.stderr, "org.freedesktop", "call Restart")
}

// slowKCM is a responder whose program starts when the test says so.
func slowKCM(t *testing.T) (s *system, started func() int, proceed func()) {
	t.Helper()
	s = newSystem(t, "[sssd]\n")
	s.write("/slow", fmt.Sprintf("#!/bin/sh\necho $$ >%[1]s/started\nwhile [ ! -e %[1]s/go ]; do sleep 0.02; done\nexec %[2]s/sssd_kcm --root=%[1]s\n", s.root, s.bin), 0o755)
	s.configure("[sssd]\ndebug_level = 6\n[kcm]\ncommand = " + s.path("/slow") + "\n")
	s.start()
	started = func() (pid int) {
		soon(t, func() bool {
			text, _ := os.ReadFile(s.path("/started"))
			n, _ := fmt.Sscan(string(text), &pid)
			return n == 1
		}, func() string { return "the program does not start" })
		return pid
	}
	return s, started, func() { s.write("/go", "", 0o644) }
}

func TestAStartingResponderIsNotForgottenByARestart(t *testing.T) {
	t.Parallel()
	s, started, proceed := slowKCM(t)
	answered := make(chan error, 1)
	go func() {
		_, err := s.kcm().Call(protocol.OpGetDefaultCache, nil)
		answered <- err
	}()
	pid := started()
	restarted := make(chan said, 1)
	go func() { restarted <- s.ctl(user(os.Getuid()), "", "restart") }()
	soon(t, func() bool { return strings.Contains(s.log("sssd"), "restarting") }, func() string { return "no restart" })
	proceed()
	if got := <-restarted; got != (said{}) {
		t.Errorf("restart: %+v", got)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
	s.wake("")
	if now := s.pid("sssd_kcm"); now != pid {
		t.Errorf("process %d was starting, %d serves", pid, now)
	}
}

func TestAResponderThatStartsWhileSssdIsKilledIsReplaced(t *testing.T) {
	t.Parallel()
	s, started, proceed := slowKCM(t)
	answered := make(chan error, 1)
	go func() {
		_, err := s.kcm().Call(protocol.OpGetDefaultCache, nil)
		answered <- err
	}()
	pid := started()
	s.kill(syscall.SIGKILL)
	s.start()
	proceed()
	if err := <-answered; err != nil {
		t.Error(err)
	}
	soon(t, func() bool { return syscall.Kill(pid, 0) != nil }, func() string { return "nobody ends the responder of the old sssd" })
	s.wake("")
}

// smallDisk mounts a small disk at /var/lib/sss of the system.
func (s *system) smallDisk() {
	s.t.Helper()
	dir := s.path("/var/lib/sss")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m", "none", dir).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	s.t.Cleanup(func() {
		s.stop()
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			s.t.Errorf("%v: %s", err, out)
		}
	})
}

func TestARestartOnADiskThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	for name, c := range map[string]struct{ spoil, mend string }{
		"full":      {`dd if=/dev/zero of="$ROOT/var/lib/sss/filler" bs=4k 2>/dev/null || :`, `rm "$ROOT/var/lib/sss/filler"`},
		"read-only": {`mount -o remount,ro "$ROOT/var/lib/sss"`, `mount -o remount,rw "$ROOT/var/lib/sss"`},
	} {
		t.Run(name, func(t *testing.T) {
			needRoot(t)
			const conf = "[kcm]\nccache_storage = memory\n"
			s := newSystem(t, conf)
			s.smallDisk()
			s.start()
			root := user(os.Getuid())
			pid := s.sssd.Process.Pid
			if _, err := s.kcm().Call(protocol.OpGetDefaultCache, nil); err != nil { // secrets would have files open for writing
				t.Fatal(err)
			}
			s.sh(root, c.spoil)
			for what, text := range map[string]string{"as it was": conf, "of other lines": "# a comment\n" + conf} {
				s.configure(text)
				if got := s.ctl(root, "", "restart"); got != (said{}) {
					t.Errorf("a configuration %s: %+v", what, got)
				}
				s.awaitStatus(0, "kcm      running")
			}
			s.configure(conf + "debug_level = 6\n")
			got := s.ctl(root, "", "restart")
			if got.code != 1 || !strings.Contains(got.stderr, "sssd goes on as it is") {
				t.Errorf("a new configuration: %+v", got)
			}
			got = s.awaitStatus(0, "kcm      running", fmt.Sprint(pid))
			s.sh(root, c.mend)
			if got := s.ctl(root, "", "restart"); got != (said{}) {
				t.Errorf("when it can be written again: %+v", got)
			}
			expect(t, s.levels("kcm"), "0x07f0")
		})
	}
}

// systemCalls counts those that a process makes in a while. The file out gets
// their names.
func systemCalls(pid int, while time.Duration, out string) (n int, err error) {
	cmd := exec.Command("timeout", "-s", "INT", fmt.Sprint(while.Seconds()), "strace", "-f", "-qq", "-o", out, "-p", fmt.Sprint(pid))
	said, err := cmd.CombinedOutput()
	text, readErr := os.ReadFile(out)
	if readErr != nil {
		return 0, fmt.Errorf("strace: %w, %w: %s", err, readErr, said)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "resumed>") && !strings.Contains(line, "<unfinished") && !strings.Contains(line, "<detached") {
			n++
		}
	}
	return n, nil
}

// TestAnIdleSystemSleeps counts what idle processes do. Pings, which are put
// off, are all that they have to.
//
//nolint:paralleltest // it counts what idle processes do
func TestAnIdleSystemSleeps(t *testing.T) {
	needRoot(t) // to trace what is protected from others
	needProgram(t, "strace")
	window := 3 * time.Second
	if d, err := time.ParseDuration(os.Getenv("IDLE_WINDOW")); err == nil {
		window = d
	}
	ping := 1000
	if os.Getenv("IDLE_PINGS") != "" {
		ping = 10
	}
	s := newSystem(t, fmt.Sprintf("[kcm]\ntimeout = %d\n[secrets]\ntimeout = %d\n", ping, ping)).start()
	s.wake("")
	s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" restart`) // its responders are adopted now
	s.awaitStatus(0, "kcm      running", "secrets  running")
	most := int(window/time.Second) * 20
	var traces sync.WaitGroup
	for _, program := range []string{"sssd", "sssd_kcm", "sssd_secrets"} {
		traces.Go(func() {
			// The runtime goes to rest, and gives memory back, some time after the last work.
			var n int
			for range 5 {
				var err error
				if n, err = systemCalls(s.pid(program), window, s.path("/trace."+program)); err != nil {
					t.Error(err)
				}
				if n <= most {
					break
				}
			}
			t.Logf("%s: %d system calls in %v", program, n, window)
			if n > most {
				t.Errorf("%s is not idle: %d system calls in %v", program, n, window)
			}
		})
	}
	traces.Wait()
}

func TestRestartsAndTakeoversAreFreeOfRaces(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[kcm]\nccache_storage = memory\n").underRaceDetector(t).start()
	if !s.detects("sssd") {
		t.Fatal("the race detector is not at work")
	}
	me := user(os.Getuid())
	failures := s.hammer(4, 50, func() {
		s.ctl(me, "", "restart")
		s.ctl(me, "", "debug-level", "6")
		s.kill(syscall.SIGKILL) // kcm, which has caches, goes on with its socket
		s.start()
		asked := make(chan said, 2)
		go func() { asked <- s.ctl(me, "", "restart") }()
		go func() { asked <- s.ctl(me, "", "status") }()
		<-asked
		<-asked
	})
	if len(failures) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(failures), failures[0])
	}
	s.killHard("sssd_kcm") // while sssd takes its socket over, it restarts again
	s.ctl(me, "", "restart")
	soon(t, func() bool {
		_, err := s.kcm().Call(protocol.OpGetDefaultCache, nil)
		return err == nil
	}, func() string { return "nobody serves" })
}
