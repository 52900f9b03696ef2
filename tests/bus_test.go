package tests

import (
	"os"
	"testing"
)

func TestBusctlShowsTheMonitorAndBothResponders(t *testing.T) {
	t.Parallel()
	needProgram(t, "busctl")
	s := newSystem(t, defaults).start()
	me := user(os.Getuid())
	s.wake("")
	expect(t, s.sh(me, `busctl --address="$BUS" list --no-pager`), "sssd.monitor", "sssd.kcm", "sssd.secrets")
	expect(t, s.sh(me, `busctl --address="$BUS" tree --no-pager`),
		"/org/freedesktop/sssd/monitor", "/org/freedesktop/sssd/service", "sssd.kcm", "sssd.secrets")
	expect(t, s.sh(me, `busctl --address="$BUS" introspect sssd.monitor /org/freedesktop/sssd/monitor --no-pager`),
		"RegisterService", "ListServices", "Generation")
	for _, name := range []string{"sssd.kcm", "sssd.secrets"} {
		expect(t, s.sh(me, `busctl --address="$BUS" introspect `+name+` /org/freedesktop/sssd/service --no-pager`),
			"rotateLogs", "debug_level", "Counters")
	}
}
