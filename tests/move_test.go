package tests

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTicketsSurviveAChangeOfTheirStorage changes ccache_storage back and
// forth: what an administrator is told, and that sssctl brings the caches.
func TestTicketsSurviveAChangeOfTheirStorage(t *testing.T) {
	t.Parallel()
	me := user(os.Getuid())
	storage := func(word string) string { return "[kcm]\nccache_storage = " + word + "\n" }
	s := newSystem(t, storage("secrets")).start()
	name := fmt.Sprint(os.Getuid())
	fill := func(cache, who, server string) {
		t.Helper()
		c := s.kcm()
		if err := c.Initialize(cache, principal(who)); err != nil {
			t.Fatal(err)
		}
		if err := c.store(cache, principal(who), server); err != nil {
			t.Fatal(err)
		}
	}
	servers := func(cache string, want ...string) {
		t.Helper()
		got, err := s.kcm().services(cache)
		if !slices.Equal(got, want) {
			t.Errorf("%s holds %v, %v; want %v", cache, got, err, want)
		}
	}
	fill(name, "alice", "one")
	fill(name+":x", "bob", "two")

	const told = "[kcm] ccache_storage: was 'secrets' and will be 'secdb': caches stay where they are"
	s.configure(storage("secdb"))
	check := s.sh(me, `"$BIN"/sssctl --root "$ROOT" config-check`)
	expect(t, check, "Warnings: 1\n", told, "'sssctl ccache move'")
	if out := s.ctl(me, "", "ccache", "move", "secrets"); out.code != 1 || !strings.Contains(out.stderr, "in use") {
		t.Errorf("before the change is in force: %+v", out)
	}
	s.restart()
	expect(t, s.log("sssd"), told)
	refuse(t, s.sh(me, `"$BIN"/sssctl --root "$ROOT" config-check`), "Warnings")
	servers(name)
	fill(name, "carol", "three") // which is newer than what is in the old place

	want := said{stdout: "From secrets to secdb: users 1, caches moved 1, older ones dropped 1, damaged records left 0\n"}
	if out := s.ctl(me, "", "ccache", "move"); out != want {
		t.Errorf("%+v", out)
	}
	servers(name, "three")
	servers(name+":x", "two")
	want.stdout = "From secrets to secdb: users 0, caches moved 0, older ones dropped 0, damaged records left 0\n"
	if out := s.ctl(me, "", "ccache", "move", "secrets"); out != want {
		t.Errorf("once more: %+v", out)
	}

	s.configure(storage("secrets"))
	s.restart()
	servers(name)
	await(func() bool { return strings.Contains(s.log("sssd_kcm"), "out of sight") })
	expect(t, s.log("sssd_kcm"), "caches of another storage are out of sight; 'sssctl ccache move' brings them")
	want.stdout = "From secdb to secrets: users 1, caches moved 2, older ones dropped 0, damaged records left 0\n"
	if out := s.ctl(me, "", "ccache", "move"); out != want {
		t.Errorf("back again: %+v", out)
	}
	servers(name, "three")
	servers(name+":x", "two")
	for args, says := range map[string]string{"memory": "not from 'memory'", "nowhere": "not from 'nowhere'", "a b": "too many: \"b\""} {
		if out := s.ctl(me, "", append([]string{"ccache", "move"}, strings.Fields(args)...)...); out.code != 1 || !strings.Contains(out.stderr, says) {
			t.Errorf("ccache move %s: %+v", args, out)
		}
	}
}

// TestMITClientsFindTheirTicketsAfterAMove is the same with what users type.
func TestMITClientsFindTheirTicketsAfterAMove(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, "[kcm]\nccache_storage = secdb\n").start()
	for _, u := range everybody() {
		s.sh(u, `echo secret | kinit alice >/dev/null; kvno host/server.example.test; echo secret | kinit bob >/dev/null`)
	}
	s.configure("[kcm]\nccache_storage = secrets\n")
	s.restart()
	for _, u := range everybody() {
		expect(t, s.shFails(u, `klist`), "Credentials cache 'KCM:"+fmt.Sprint(u)) // as the manual says
	}
	s.sh(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" ccache move`)
	for _, u := range everybody() {
		expect(t, s.sh(u, `klist`), "Default principal: bob@EXAMPLE.TEST")
		expect(t, s.sh(u, `kswitch -p alice; kvno host/other.example.test >/dev/null; klist`),
			"host/server.example.test@EXAMPLE.TEST", "host/other.example.test@EXAMPLE.TEST")
	}
}

// TestAMoveThatIsKilledLosesNothing kills the responder while caches of many
// users are brought along, and repeats the command.
func TestAMoveThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	needRoot(t) // who may name caches of others
	const users = 300
	s := newSystem(t, "[kcm]\nccache_storage = secrets\n").start()
	c := s.kcm()
	cacheOf := func(i int) string { return fmt.Sprint(20000 + i) }
	for i := range users {
		if err := c.Initialize(cacheOf(i), principal("alice")); err != nil {
			t.Fatal(err)
		}
		if err := c.store(cacheOf(i), principal("alice"), "one"); err != nil {
			t.Fatal(err)
		}
	}
	s.configure("[kcm]\nccache_storage = secdb\n")
	s.restart()
	move := func() said { return s.ctl(user(os.Getuid()), "", "ccache", "move") }
	heard := s.listen("org.freedesktop.sssd.kcm")
	broken := make(chan said)
	go func() { broken <- move() }()
	select {
	case <-heard: // some have been moved, not all
	case <-time.After(patience):
		t.Error("nothing is heard of a cache that was moved")
	}
	if pid := s.pid("sssd_kcm"); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	t.Logf("%+v", <-broken)
	if out := move(); out.code != 0 {
		t.Fatalf("repeated: %+v", out)
	}
	if out := move(); out.code != 0 || !strings.Contains(out.stdout, "users 0,") {
		t.Errorf("once more: %+v", out)
	}
	c = s.kcm()
	for i := range users {
		if got, err := c.services(cacheOf(i)); err != nil || !slices.Equal(got, []string{"one"}) {
			t.Errorf("%s holds %v, %v", cacheOf(i), got, err)
		}
	}
}
