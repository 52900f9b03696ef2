package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// systemBus starts a dbus-daemon with the machine's rules for its system bus and
// the policy that is shipped, where s looks for it. Clients get its address in
// SYSTEM_BUS.
func (s *system) systemBus(t *testing.T) {
	t.Helper()
	needRoot(t)
	needProgram(t, "dbus-daemon", "gdbus")
	rules, err := os.ReadFile("/usr/share/dbus-1/system.conf")
	if err != nil {
		skip(t, "needs the rules of the system bus: "+err.Error())
	}
	policy, err := filepath.Abs("../packaging/dbus/system/org.gosssd.Kcm1.conf")
	if err != nil {
		t.Fatal(err)
	}
	socket := s.path("/run/dbus/system_bus_socket")
	if err := os.MkdirAll(filepath.Dir(socket), 0o755); err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?s)<user>.*?</user>|<fork/>|<syslog/>|<pidfile>.*?</pidfile>|<listen>.*?</listen>|<standard_system_servicedirs/>|<servicehelper>.*?</servicehelper>|<include.*?</include(dir)?>`).ReplaceAllString(string(rules), "")
	text = strings.Replace(text, "</busconfig>", "<listen>unix:path="+socket+"</listen><include>"+policy+"</include></busconfig>", 1)
	s.write("/bus.conf", text, 0o644)
	var said bytes.Buffer
	daemon := exec.Command("dbus-daemon", "--nofork", "--nopidfile", "--config-file="+s.path("/bus.conf"))
	daemon.Stderr = &said
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	s.env = append(s.env, "SYSTEM_BUS=unix:path="+socket)
	await(func() bool { _, err := os.Stat(socket); return err == nil })
}

const ask = `gdbus call --address "$SYSTEM_BUS" --dest org.gosssd.Kcm1 --object-path /org/gosssd/Kcm1 --method `

// listener is a program that runs as a user until the test ends.
type listener struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *listener) heard() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.String()
}

func (s *system) overhear(t *testing.T, u user, argv ...string) *listener {
	t.Helper()
	l := &listener{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = s.env, "/", l, l
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u), Gid: uint32(u)}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return l
}

// watch has tests/buswatch subscribe as a user, and print what it is told.
func (s *system) watch(t *testing.T, u user) *listener {
	t.Helper()
	l := s.overhear(t, u, programs+"/buswatch", s.path("/run/dbus/system_bus_socket"))
	await(func() bool { return strings.Contains(l.heard(), "subscribed") })
	return l
}

func TestTheSystemBusShowsUsersTheirOwnCachesOnly(t *testing.T) {
	t.Parallel()
	needRealm(t)
	buildWatch(t)
	const alice, bob = user(1), user(8)
	s := newSystem(t, renewing("secdb"))
	conf, err := os.ReadFile(s.path("/krb5.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("/etc/krb5.conf", string(conf), 0o644)
	s.systemBus(t)
	s.start()
	s.wake("")
	await(func() bool {
		_, err := s.try(alice, ask+"org.gosssd.Kcm1.ListCaches")
		return err == nil
	})
	if out := s.sh(alice, ask+"org.gosssd.Kcm1.ListCaches"); out != "(@aa{sv} [],)\n" {
		t.Errorf("a user without caches is shown %s", out)
	}
	heard := map[user]*listener{alice: s.watch(t, alice), bob: s.watch(t, bob)}
	// A connection that has ended takes no place.
	s.sh(alice, "for i in $(seq 40); do "+ask+"org.gosssd.Kcm1.Subscribe >/dev/null; done")
	spies := map[string]*listener{
		"a match for all":     s.overhear(t, bob, "gdbus", "monitor", "--address", "unix:path="+s.path("/run/dbus/system_bus_socket"), "--dest", "org.gosssd.Kcm1"),
		"eavesdropping":       s.overhear(t, bob, "dbus-monitor", "--address", "unix:path="+s.path("/run/dbus/system_bus_socket"), "eavesdrop=true"),
		"the monitor of root": s.overhear(t, bob, "busctl", "--address=unix:path="+s.path("/run/dbus/system_bus_socket"), "monitor"),
	}

	s.sh(alice, "echo secret | kinit -c KCM:1:first u1")
	s.sh(alice, "echo secret | kinit -c KCM:1:second u2; kswitch -c KCM:1:first; kswitch -c KCM:1:second")
	list := s.sh(alice, ask+"org.gosssd.Kcm1.ListCaches")
	expect(t, list, "'name': <'1:first'>", "'principal': <'u1@EXAMPLE.TEST'>", "'name': <'1:second'>", "'default': <true>", "'default': <false>",
		"'start': <int64 ", "'end': <int64 1", "'renew_until': <int64 ", "'credentials': <uint32 1>", "'next_renewal': <int64 1")
	s.sh(alice, "echo secret | kinit -c KCM:1:first -l 4s -r 1h u1")
	await(func() bool { return strings.Contains(heard[alice].heard(), "CacheRenewed 1:first") })
	s.sh(alice, "kdestroy -A")
	want := []string{"CacheCreated 1:first u1@EXAMPLE.TEST", "CacheCreated 1:second u2@EXAMPLE.TEST", "CacheChanged 1:first u1@EXAMPLE.TEST renewal 1", "CacheRenewed 1:first u1@EXAMPLE.TEST renewal 1",
		"CacheDestroyed 1:first", "CacheDestroyed 1:second", "DefaultChanged 1:first", "DefaultChanged 1:second"}
	await(func() bool { return strings.Count(heard[alice].heard(), "CacheDestroyed") == 2 })
	expect(t, heard[alice].heard(), want...)

	// By no door is the other shown anything.
	s.sh(bob, "echo secret | kinit -c KCM:8:bobs u3") // whose signal comes after all of the others
	await(func() bool { return strings.Contains(heard[bob].heard(), "CacheCreated 8:bobs") })
	refuse(t, heard[bob].heard(), "1:first", "1:second", "u1@", "u2@")
	refuse(t, heard[alice].heard(), "8:bobs", "u3@")
	refuse(t, s.sh(bob, ask+"org.gosssd.Kcm1.ListCaches"), "first", "u1@")
	refuse(t, s.sh(alice, ask+"org.gosssd.Kcm1.ListCaches"), "bobs")
	if out := s.sh(0, ask+"org.gosssd.Kcm1.ListCaches"); out != "(@aa{sv} [],)\n" {
		t.Errorf("root is shown the caches of others: %s", out)
	}
	for how, spy := range spies {
		refuse(t, spy.heard(), "first", "second", "u1@", "bobs")
		if spy.heard() == "" {
			t.Errorf("%s does not run", how)
		}
	}
	expect(t, s.shFails(bob, `gdbus call --address "$SYSTEM_BUS" --dest org.freedesktop.DBus --object-path /org/freedesktop/DBus --method org.freedesktop.DBus.RequestName org.gosssd.Kcm1 4`), "AccessDenied")
	expect(t, s.shFails(bob, ask+"org.gosssd.Kcm1.Destroy 1:first"), "UnknownMethod")
	if x := s.sh(bob, `gdbus introspect --address "$SYSTEM_BUS" --dest org.gosssd.Kcm1 --object-path /org/gosssd/Kcm1`); !strings.Contains(x, "Subscribe();") || !strings.Contains(x, "DefaultChanged(s name)") {
		t.Errorf("the interface is shown as %s", x)
	}
}

// buildWatch builds the listener of these tests.
func buildWatch(t *testing.T) {
	t.Helper()
	if err := watchBuilt(); err != nil {
		t.Fatal(err)
	}
}

var watchBuilt = sync.OnceValue(func() error {
	if out, err := exec.Command("go", "build", "-o", programs+"/buswatch", "gosssd/tests/buswatch").CombinedOutput(); err != nil {
		return fmt.Errorf("build buswatch: %w\n%s", err, out)
	}
	return nil
})

func TestWithoutASystemBusNothingFails(t *testing.T) {
	t.Parallel()
	needRealm(t)
	for name, conf := range map[string]string{"none there": "[kcm]\ndebug_level = 4\n", "not wanted": "[kcm]\ndebug_level = 4\nsystem_bus = false\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, conf).start()
			me := user(os.Getuid())
			expect(t, s.sh(me, "echo secret | kinit u3; klist"), "u3@EXAMPLE.TEST")
			const line = "users are not shown their caches on the system bus"
			if name == "none there" {
				s.awaitLog("sssd_kcm", line)
			} else {
				refuse(t, s.log("sssd_kcm"), line)
			}
			if n := strings.Count(s.log("sssd_kcm"), line); n > 1 {
				t.Errorf("it is logged %d times", n)
			}
		})
	}
}
