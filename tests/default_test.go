package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The default is whose the user is to every program; only kinit, kswitch and
// kdestroy change it.

// until waits for a script to print what is wanted.
func until(t *testing.T, s *system, u user, script, want string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		got := strings.TrimSpace(s.sh(u, login+script))
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s\nprints %q, expected %q", script, got, want)
		}
	}
}

func TestAnExpiredDefaultMakesNobodyAnotherPrincipal(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, kept("secrets", "purge_expired_credentials_interval = 1", "purge_expired_grace = 1")).start()
	u, c := somebody(), s.kcm()
	admin := fmt.Sprintf("KCM:%d:admin", u)
	s.sh(u, login+`login -c `+admin+` alice`)
	expired(t, c, fmt.Sprintf("%d", u)) // bob's
	s.sh(u, `kswitch -c KCM:$(id -u)`)
	until(t, s, u, `klist | grep -c krbtgt || :`, "0") // it was purged
	is(t, s, u, `primary; caches; klist -l | grep bob | grep -o Expired; ! klist -s; kswitch -p alice; klist -s; kswitch -c KCM:$(id -u); primary`, "bob\n2\nExpired\nbob")
	is(t, s, u, heimdal(t, heimdalPrincipal), "bob")
	// A bare kinit knows the principal, and does not overwrite alice's cache.
	is(t, s, u, `login; primary; klist -s; KRB5CCNAME=`+admin+` primary; caches`, "bob\nalice\n2")
}

func TestAnExpiredNamedCacheKeepsItsPrincipal(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, kept("secrets", "purge_expired_credentials_interval = 1")).start()
	u, c := somebody(), s.kcm()
	s.sh(u, login+`login bob`)
	for _, name := range []string{"ssh", "marker"} {
		tgt := time.Now().Add(-time.Hour)
		if err := c.Initialize(fmt.Sprintf("%d:%s", u, name), principal("bob")); err != nil {
			t.Fatal(err)
		}
		storeEnded(t, c, fmt.Sprintf("%d:%s", u, name), "krbtgt", tgt)
		storeEnded(t, c, fmt.Sprintf("%d:%s", u, name), "host", tgt)
	}
	until(t, s, u, `klist -A | grep -c host/ || :`, "0") // both were looked at
	is(t, s, u, `KRB5CCNAME=KCM:$(id -u):ssh; export KRB5CCNAME; primary; login; primary; klist -s`, "bob\nbob")
}

func TestARefusalForAQuotaSaysSo(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, kept("secrets", "max_uid_ccaches = 1")).start()
	out := s.sh(somebody(), login+heimdal(t, `login alice
		! login bob 2>&1
		! login -c KCM:$(id -u):bob bob 2>&1
		! h_kinit -c KCM:$(id -u):bob bob 2>&1`))
	if n := strings.Count(out, "Disk quota exceeded"); n != 3 {
		t.Errorf("of three refusals %d say that a quota is exceeded:\n%s", n, out)
	}
}

func TestSeventyLoginsBySSHKeepNobodyOut(t *testing.T) {
	t.Parallel()
	s, u, script := sshd(t, defaults)
	for _, steps := range []string{"nics", "nsic"} {
		is(t, s, u, `login -c KCM:$(id -u):mine alice; kswitch -c KCM:$(id -u):mine; caches`, "1")
		name := strings.TrimSpace(s.sh(user(os.Getuid()), script+`for i in $(seq 70); do name=$(sshd `+steps+`); done; echo $name`))
		is(t, s, u, `caches; klist | sed -n 's/^Ticket cache: //p'; klist -s; KRB5CCNAME=KCM:$(id -u):mine primary; kdestroy -A`, "64\n"+name+"\nalice")
	}
}

func TestALoginThatBreaksOffLeavesTheDefaultAsItWas(t *testing.T) {
	t.Parallel()
	s, u, script := sshd(t, defaults)
	s.sh(u, login+`login alice; login bob`)
	s.sh(user(os.Getuid()), script+`sshd ns; sshd ns`)
	is(t, s, u, `klist -s; primary; kvno -q host/server.example.test; login carol; kdestroy 2>/dev/null; klist -s; primary`, "bob\nalice")
}

func TestACacheThatIsNotThereHasTheWordsOfAFile(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, defaults).start()
	u := somebody()
	out := s.sh(u, `for ccache in KCM:$(id -u):none KCM:; do ! KRB5CCNAME=$ccache kvno host/server.example.test 2>&1; ! KRB5CCNAME=$ccache klist 2>&1; done`)
	if n := strings.Count(out, "No credentials cache found") + strings.Count(out, "not found"); n != 4 {
		t.Errorf("%d of four say that there is no cache:\n%s", n, out)
	}
	is(t, s, u, `login -c KCM:$(id -u):first alice; primary; login -c KCM:$(id -u) bob; primary`, "alice\nbob")
}

func TestTheLogSaysWhoAskedForWhat(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, kept("secrets", "debug_level = 9")).start()
	u := somebody()
	s.sh(u, login+`login alice; kvno -q host/server.example.test; kdestroy; klist || :`)
	text := s.log("sssd_kcm")
	expect(t, text, "op=REPLACE uid="+fmt.Sprint(u), "program=kinit cache=", "offset=0 principal=alice@EXAMPLE.TEST credentials=",
		"program=kvno cache=", "server=host/server.example.test@EXAMPLE.TEST", "op=DESTROY", "program=kdestroy", "program=klist",
		"store: commit", "change: ", "took=")
}

func TestRootsAccessIsQuiet(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	needRoot(t)
	needRealm(t)
	for level, lines := range map[string]int{"2": 0, "4": 1} {
		s := newSystem(t, kept("secrets", "debug_level = "+level)).start()
		s.sh(20001, login+`login alice`)
		s.sh(0, `KRB5CCNAME=KCM:20001 klist`)
		text := s.log("sssd_kcm")
		if got := strings.Count(text, "access to another user's cache"); got > lines || got == 0 && lines > 0 {
			t.Errorf("at level %s there are %d lines about root's access:\n%s", level, got, text)
		}
		s.stop()
	}
}
