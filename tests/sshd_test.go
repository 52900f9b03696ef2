package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// sshd is a system with a script function "sshd STEPS" that logs the user in
// with alice's delegated tickets, and a user for it.
func sshd(t *testing.T, conf string) (*system, user, string) {
	t.Helper()
	needRealm(t)
	program := compile(t, "login.c")
	s := newSystem(t, conf).start()
	s.sh(user(os.Getuid()), login+`login -c FILE:$ROOT/delegated alice`)
	u := somebody()
	return s, u, fmt.Sprintf(`sshd() { %s %d $1 FILE:$ROOT/delegated; }
`, program, u)
}

func TestTenLoginsBySSHLeaveTenUsableCaches(t *testing.T) {
	t.Parallel()
	s, u, script := sshd(t, defaults)
	me := user(os.Getuid())
	for what, steps := range map[string]string{
		"the switch before the principal is known": "nsic",
		"the switch before the tickets are there":  "nisc",
		"the switch at the end":                    "nics",
	} {
		var names []string
		for range 10 {
			name := strings.TrimSpace(s.sh(me, script+"sshd "+steps))
			is(t, s, u, `primary; klist | sed -n 's/^Ticket cache: //p'`, "alice\n"+name) // the default is the one of this login
			names = append(names, name)
		}
		is(t, s, u, `klist -l | grep -c alice@; klist -l | grep -c KCM:; klist -A | grep -c krbtgt; klist -A -s`, "10\n10\n10")
		for _, name := range names {
			is(t, s, u, `export KRB5CCNAME=`+name+`; primary; kvno -q host/server.example.test; klist | grep -c host/`, "alice\n1")
		}
		// sshd takes each away when its session ends.
		for i, name := range names {
			is(t, s, u, `kdestroy -q -c `+name+` 2>/dev/null; caches`, fmt.Sprint(9-i))
		}
		s.sh(u, `! klist -A -s; ! klist -l`)
		if t.Failed() {
			t.Fatalf("with %s", what)
		}
	}
}

func TestExpiredLoginsBySSHAreTidiedUpWhileOneIsValid(t *testing.T) {
	t.Parallel()
	s, u, script := sshd(t, kept("secrets", "purge_expired_credentials_interval = 1"))
	me := user(os.Getuid())
	name := strings.TrimSpace(s.sh(me, script+`sshd nsic`))
	s.sh(me, script+`for i in 1 2 3 4 5; do sshd nsix; sshd nisx; done`)
	deadline := time.Now().Add(patience)
	for strings.TrimSpace(s.sh(u, login+"caches")) != "1" {
		if time.Now().After(deadline) {
			t.Fatalf("what stays:\n%s", s.sh(u, `klist -A`))
		}
		time.Sleep(50 * time.Millisecond)
	}
	is(t, s, u, `klist -s; klist | sed -n 's/^Ticket cache: //p'`, name)
}

func TestLoginsBySSHThatBreakOffKeepNobodyOut(t *testing.T) {
	t.Parallel()
	s, u, script := sshd(t, kept("secrets", "max_uid_ccaches = 8"))
	me := user(os.Getuid())
	s.sh(me, script+`for i in 1 2 3 4 5 6 7 8; do sshd ns; done`)
	name := strings.TrimSpace(s.sh(me, script+`sshd nsic`))
	is(t, s, u, `klist -l | grep -c KCM:; klist | sed -n 's/^Ticket cache: //p'`, "1\n"+name)
}
