package launch

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/kcm/hook"
)

// script is a program in a directory that every user may enter, and what it
// writes to.
func script(t *testing.T, text string) (path, out string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "hook-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, out = filepath.Join(dir, "hook"), filepath.Join(dir, "out")
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\nout="+out+"\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, out
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// someone is the user the tests start programs as: nobody if they may, else the
// one they run as.
func someone() uint32 {
	if os.Geteuid() == 0 {
		return 65534
	}
	return uint32(os.Geteuid())
}

func event() hook.Event {
	return hook.Event{Kind: hook.Created, UID: someone(), Name: "1000:5", Principal: `al"ice$x@EXAMPLE.TEST`, Expires: time.Unix(1_900_000_000, 0)}
}

func TestAProgramRunsConfinedAndClean(t *testing.T) {
	t.Setenv("SECRET", "of the server")
	inherited, err := os.Open("/proc/version") // as if the server had been started with it
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	if _, err := unix.FcntlInt(inherited.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	path, out := script(t, `exec > $out
		env | sort
		grep -E '^(Uid|Gid|NoNewPrivs):' /proc/self/status
		echo fds $(ls -l /proc/self/fd | sed -n "s/.*-> //p")
		readlink /proc/self/fd/0 /proc/self/cwd
		read pid name state ppid pgrp session rest < /proc/$$/stat
		[ $$ = $pgrp ] && [ $$ = $session ] && echo own session`)
	if err := newProgram(path).Run(t.Context(), event()); err != nil {
		t.Fatal(err)
	}
	got := contents(t, out)
	id := someone()
	for _, want := range []string{
		"GOSSSD_EVENT=created\n", fmt.Sprintf("GOSSSD_UID=%d\n", id), "GOSSSD_PRINCIPAL=al\"ice$x@EXAMPLE.TEST\n", "GOSSSD_EXPIRES=1900000000\n",
		"KRB5CCNAME=KCM:1000:5\n", "LANG=C\n", "PATH=", "HOME=",
		fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d\n", id, id, id, id), "NoNewPrivs:\t1\n", "/dev/null\n/\n", "own session\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "/proc/version") {
		t.Errorf("a descriptor of the server is in\n%s", got)
	}
	if strings.Contains(got, "SECRET") {
		t.Errorf("the server's environment is in\n%s", got)
	}
}

func TestTheServerItselfStaysAsItWas(t *testing.T) {
	path, _ := script(t, "true")
	for range 20 {
		if err := newProgram(path).Run(t.Context(), event()); err != nil {
			t.Fatal(err)
		}
	}
	before := noNewPrivileges(t, "/proc/1/status") == "1" // in a container it may be set for all
	if out, err := exec.Command("grep", "NoNewPrivs", "/proc/self/status").Output(); err != nil || strings.HasSuffix(strings.TrimSpace(string(out)), "1") && !before {
		t.Errorf("a program of the server's own gets %s (%v)", out, err)
	}
}

func noNewPrivileges(t *testing.T, status string) string {
	for line := range strings.Lines(contents(t, status)) {
		if value, found := strings.CutPrefix(line, "NoNewPrivs:"); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestAUserHasTheGroupsOfHisEntry(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	a, err := accountOf(1) // daemon
	if err != nil || a.credential.Uid != 1 || a.credential.Gid == 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	unknown, err := accountOf(3_999_999_999)
	if err != nil || unknown.credential.Gid != nogroup || len(unknown.credential.Groups) != 0 {
		t.Errorf("a user without an entry: %+v, %v", unknown.credential, err)
	}
	if _, err := accountOf(1<<32 - 1); err == nil {
		t.Error("uid -1 is a user")
	}
}

// TestAProgramThatHangsIsKilledWithItsGroup also has a child that holds the
// output open and one that ignores SIGTERM.
func TestAProgramThatHangsIsKilledWithItsGroup(t *testing.T) {
	path, out := script(t, `trap '' TERM; sleep 1000 & echo $! $$ > $out; wait; sleep 1000`)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := newProgram(path).Run(ctx, event())
	if err == nil || !strings.Contains(err.Error(), "took too long") {
		t.Errorf("it ends with %v", err)
	}
	expectEnded(t, contents(t, out))
}

func TestWhatAProgramLeavesBehindIsKilled(t *testing.T) {
	path, out := script(t, `sleep 1000 & echo $! > $out`)
	if err := newProgram(path).Run(t.Context(), event()); err != nil {
		t.Error(err)
	}
	expectEnded(t, contents(t, out))
}

// expectEnded waits for the end of processes, which init reaps at its leisure.
func expectEnded(t *testing.T, pids string) {
	t.Helper()
	for pid := range strings.FieldsSeq(pids) {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
			status, err := os.ReadFile("/proc/" + pid + "/status")
			if err != nil || strings.Contains(string(status), "State:\tZ") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %s goes on", pid)
			}
		}
	}
}

func TestAFailureSaysWhatTheProgramWrote(t *testing.T) {
	path, _ := script(t, `echo no cell; head -c 10000000 /dev/zero | tr '\0' x; exit 3`)
	err := newProgram(path).Run(t.Context(), event())
	if err == nil || !strings.HasPrefix(err.Error(), "exit status 3: no cell\nxxx") || len(err.Error()) > maxOutput+100 {
		t.Errorf("%.200v", err)
	}
}

func TestOnlyRootStartsProgramsOfOthers(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("needs an ordinary user")
	}
	path, _ := script(t, "true")
	e := event()
	e.UID++
	if err := newProgram(path).Run(t.Context(), e); err == nil || !strings.Contains(err.Error(), "only root") {
		t.Errorf("%v", err)
	}
}

func TestAProgramThatOthersCanChangeIsRefused(t *testing.T) {
	path, _ := script(t, "true")
	if problem := Check(path); problem != "" {
		t.Fatal(problem)
	}
	dir := filepath.Dir(path)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if problem := Check(link); problem != "" {
		t.Error(problem)
	}
	for name, c := range map[string]struct {
		value, want string
		prepare     func() error
	}{
		"a program that is missing":         {value: dir + "/none", want: "cannot be started: no such file"},
		"a directory":                       {value: dir, want: "is no program"},
		"a file that cannot be executed":    {value: dir + "/out", want: "is no program"},
		"a path with dots":                  {value: dir + "/../x", want: "write the path as"},
		"no absolute path":                  {value: "hook", want: "neither"},
		"a command line":                    {value: "aklog -c cell", want: "neither"},
		"a unit that is no template":        {value: "hook.service", want: "neither"},
		"a template in a directory":         {value: "x/hook@.service", want: "neither"},
		"an instance":                       {value: "hook@1.service", want: "neither"},
		"a program that others can write":   {value: path, want: "may be written to by others", prepare: func() error { return os.Chmod(path, 0o757) }},
		"a directory that others can write": {value: path, want: "may be written to by others", prepare: func() error { return os.Chmod(dir, 0o777) }},
	} {
		if c.prepare != nil {
			if err := c.prepare(); err != nil {
				t.Fatal(err)
			}
		}
		if problem := Check(c.value); !strings.Contains(problem, c.want) {
			t.Errorf("%s: %q", name, problem)
		}
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWhatCannotBeStartedIsNotTried: sssd starts with a warning of it.
func TestWhatCannotBeStartedIsNotTried(t *testing.T) {
	for _, booted := range []bool{false, true} {
		for _, value := range []string{"aklog", "x/y@.service", "../x@.service"} {
			err := New(value, t.TempDir(), booted, time.Second).Run(t.Context(), event())
			if err == nil || !strings.Contains(err.Error(), "is neither") {
				t.Errorf("%s: %v", value, err)
			}
		}
	}
}

func TestATemplateNeedsSystemd(t *testing.T) {
	err := New("x@.service", t.TempDir(), false, time.Second).Run(t.Context(), event())
	if err == nil || !strings.Contains(err.Error(), "does not run here") {
		t.Errorf("%v", err)
	}
}

func TestTheFileOfAUnitIsReadAsItWasMeant(t *testing.T) {
	got := environmentFile([]string{"A=1", "B=a\"b\\c$d`e #'"})
	if want := "A=\"1\"\nB=\"a\\\"b\\\\c\\$d\\`e #'\"\n"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
}
