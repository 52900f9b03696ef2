package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// needNamespaces skips the test where the kernel lets nobody make namespaces.
func needNamespaces(t *testing.T, flags ...string) {
	t.Helper()
	needProgram(t, "unshare")
	if out, err := exec.Command("unshare", append(flags, "true")...).CombinedOutput(); err != nil {
		skip(t, fmt.Sprintf("needs unshare %v: %s", flags, out))
	}
}

// TestTheSocketServesAContainerIntoWhichItIsMounted is what the manual page
// promises: a container that is given the socket shares the caches, and users
// are told apart by the uid that the kernel tells of the peer.
func TestTheSocketServesAContainerIntoWhichItIsMounted(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	needProgram(t, "setpriv")
	needNamespaces(t, "--mount", "--pid", "--fork", "--mount-proc")
	s := newSystem(t, defaults).start()
	const alice, bob user = 20001, 20002
	s.sh(alice, login+`login alice`)
	s.sh(bob, login+`login bob`)
	// The container's /srv has the socket and nothing else, under another name.
	conf, err := os.ReadFile(s.path("/krb5.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("/container.conf", strings.Replace(string(conf), s.path("/var/run/.heim_org.h5l.kcm-socket"), "/srv/kcm", 1), 0o644)
	container := `
inside() {
	unshare --mount --pid --fork --mount-proc sh -euc '
		mount -t tmpfs -o mode=755 none /srv
		: >/srv/kcm
		mount --bind "$ROOT/var/run/.heim_org.h5l.kcm-socket" /srv/kcm
		uid=$1; shift
		KRB5_CONFIG="$ROOT/container.conf" exec setpriv --reuid $uid --regid $uid --clear-groups sh -euc "$@"' sh "$@"
}
`
	out := s.sh(0, container+`inside 20001 'klist -A; kvno -q host/server.example.test'`)
	expect(t, out, "Default principal: alice@EXAMPLE.TEST")
	refuse(t, out, "bob@")
	expect(t, s.sh(alice, `klist`), "host/server.example.test") // the ticket from inside
	expect(t, s.sh(0, container+`inside 20002 'klist -A'`), "Default principal: bob@EXAMPLE.TEST")
	s.sh(0, container+`inside 20003 '! klist -A -s'`)
	s.sh(0, container+`inside 20002 'kdestroy'`)
	s.sh(bob, `! klist -A -s`)
	expect(t, s.sh(alice, `klist`), "Default principal: alice@EXAMPLE.TEST")
}

// TestRootInAUserNamespaceIsTheUserWhoMadeIt has a user who is uid 0 in a user
// namespace of their own reach for root's caches.
func TestRootInAUserNamespaceIsTheUserWhoMadeIt(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	needNamespaces(t, "--user", "--map-root-user")
	s := newSystem(t, defaults).start()
	const alice user = 20001
	s.sh(user(os.Getuid()), login+`login carol; login -c KCM:secret bob`)
	s.sh(alice, login+`login alice`)
	in := func(script string) string {
		t.Helper()
		return s.sh(alice, "unshare --user --map-root-user sh -euc '"+script+"'")
	}
	if got := in(`id -u`); got != "0\n" {
		t.Fatalf("the uid inside is %q", got)
	}
	out := in(`kvno -q host/server.example.test; klist -A; klist -l`)
	expect(t, out, "alice@EXAMPLE.TEST", "host/server.example.test@EXAMPLE.TEST", "KCM:20001")
	refuse(t, out, "carol", "bob")
	for _, name := range []string{"KCM:0", "KCM:0:1", "KCM:secret"} {
		in(`! klist -c ` + name + ` 2>/dev/null; kdestroy -q -c ` + name + ` 2>/dev/null || :`)
	}
	in(`! echo secret | kinit -c KCM:0 alice >/dev/null 2>&1`)
	in(`! echo secret | kinit -c KCM:0:x alice >/dev/null 2>&1`)
	in(`kdestroy -A`)
	s.sh(alice, `! klist -A -s`)
	expect(t, s.sh(0, `klist -A`), "carol@EXAMPLE.TEST")
	expect(t, s.sh(0, `klist -c KCM:secret`), "bob@EXAMPLE.TEST")
}
