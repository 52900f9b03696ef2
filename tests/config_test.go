package tests

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

func TestAnEditTakesEffectWhenSssdRestartsAndNotBefore(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	s := newSystem(t, "[kcm]\ndebug_level = 2\n").start()
	me := user(os.Getuid())
	level := func() string {
		s.wake("")
		return s.sh(me, `"$BIN"/sssctl --root "$ROOT" debug-level --kcm`)
	}
	expect(t, level(), "0x0070")

	s.configure("[kcm]\ndebug_level = 6\n")
	s.killHard("sssd_kcm")
	expect(t, level(), "0x0070")

	s.restart()
	expect(t, level(), "0x07f0")
	expect(t, s.sh(me, `"$BIN"/sssctl --root "$ROOT" status`), "kcm", "running", "0x07f0")
}

func TestATypoStopsSssdWithFileLineAndTheNearestName(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[sssd]\n\n[kcm]\ndebug_levl = 6\n")
	out, err := exec.Command(programs+"/sssd", "-i", "--root", s.root).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 3 {
		t.Errorf("exit status %v, expected 3", err)
	}
	expect(t, string(out), s.path("/etc/sssd/sssd.conf")+":4:", "debug_levl", "debug_level")
	if _, err := os.Stat(s.path("/var/lib/sss/db/config.db")); err == nil {
		t.Error("a configuration with an error has been committed")
	}
	check := s.shFails(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" config-check`)
	expect(t, check, "sssd.conf:4:", "debug_levl", "Issues identified by validators: 1")
}

func TestASecondSssdLeavesTheFirstAlone(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults).start()
	out, err := exec.Command(programs+"/sssd", "-i", "--root", s.root).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 6 {
		t.Errorf("exit status %v, expected 6", err)
	}
	expect(t, string(out), "already running")
	s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" status`)
}
