package tests

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const defaults = "[sssd]\n"

// heimdal prefixes a script with functions that call Heimdal's programs beside
// MIT's, as h_kinit, h_klist and so on.
func heimdal(t *testing.T, script string) string {
	t.Helper()
	needUnpacked(t, "heimdal", "heimdal-clients", "")
	copied, err := heimdalPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return `
export HEIMDAL=` + copied + `
h() { ${BEFORE:-} sh $HEIMDAL/run.sh "$ROOT" "$@"; }
h_kinit() { echo secret | h kinit --password-file=STDIN "$@"; }
h_klist() { h klist "$@"; }
h_kswitch() { h kswitch "$@"; }
h_kgetcred() { h kgetcred "$@"; }
h_kdestroy() { h kdestroy "$@"; }
` + script
}

// heimdalPrograms copies Heimdal's programs to where every user may read them.
var heimdalPrograms = sync.OnceValues(func() (dir string, err error) {
	dir = filepath.Join(scratch, "heimdal")
	syscall.ForkLock.RLock() // as in writeProgram
	defer syscall.ForkLock.RUnlock()
	if err := os.CopyFS(dir, os.DirFS("../build/heimdal/usr")); err != nil {
		return "", err
	}
	run, err := os.ReadFile("heimdal.sh")
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(dir+"/run.sh", run, 0o755)
})

// expect fails the test unless text contains all the parts.
func expect(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// refuse fails the test if text contains one of the parts.
func refuse(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%q should not be in:\n%s", part, text)
		}
	}
}

// everybody is the users the flows run as: root and two ordinary ones.
func everybody() []user {
	if os.Getuid() != 0 {
		return []user{user(os.Getuid())}
	}
	return []user{0, 20001, 20002}
}

func TestMITClientsLogInSwitchAndLogOut(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, defaults).start()
	for _, u := range everybody() {
		out := s.sh(u, `echo secret | kinit alice >/dev/null; klist; kvno host/server.example.test; klist`)
		expect(t, out, "Default principal: alice@EXAMPLE.TEST", "krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "host/server.example.test@EXAMPLE.TEST")
		out = s.sh(u, `echo secret | kinit bob >/dev/null; klist -l; klist`)
		expect(t, out, "alice@EXAMPLE.TEST", "Default principal: bob@EXAMPLE.TEST")
		out = s.sh(u, `kswitch -p alice@EXAMPLE.TEST; klist; klist -A`)
		expect(t, out, "Default principal: alice@EXAMPLE.TEST", "host/server.example.test")
		out = s.sh(u, `echo secret | kinit alice >/dev/null; klist -l`)
		if n := strings.Count(out, "alice@EXAMPLE.TEST"); n != 1 {
			t.Errorf("a second kinit leaves %d caches of alice:\n%s", n, out)
		}
		s.sh(u, `kdestroy; kdestroy -A; ! klist -s; ! klist -A -s`)
	}
}

func TestHeimdalClientsLogInSwitchAndLogOut(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, defaults).start()
	for _, u := range everybody() {
		out := s.sh(u, heimdal(t, `h_kinit alice; h_klist; h_kgetcred host/server.example.test; h_klist`))
		expect(t, out, "Principal: alice@EXAMPLE.TEST", "krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "host/server.example.test@EXAMPLE.TEST")
		out = s.sh(u, heimdal(t, `h_kinit bob; h_klist -l; h_kswitch -p bob@EXAMPLE.TEST; h_klist`))
		expect(t, out, "alice@EXAMPLE.TEST", "Principal: bob@EXAMPLE.TEST")
		s.sh(u, heimdal(t, `h_kdestroy -A; ! h_klist -s`))
	}
}

func TestMITAndHeimdalShareOneCache(t *testing.T) {
	t.Parallel()
	needRealm(t)
	s := newSystem(t, defaults).start()
	for _, u := range everybody() {
		out := s.sh(u, heimdal(t, `echo secret | kinit alice >/dev/null; h_klist; h_kgetcred host/server.example.test; klist; kvno host/other.example.test; h_klist`))
		expect(t, out, "Principal: alice@EXAMPLE.TEST", "Default principal: alice@EXAMPLE.TEST", "host/server.example.test", "host/other.example.test")
		out = s.sh(u, heimdal(t, `kdestroy; h_kinit bob; kvno host/server.example.test; klist; h_kdestroy; ! klist -s`))
		expect(t, out, "Default principal: bob@EXAMPLE.TEST", "host/server.example.test")
	}
}

func TestUsersDoNotSeeEachOthersCaches(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needRealm(t)
	s := newSystem(t, defaults).start()
	const alice, bob user = 20001, 20002
	s.sh(alice, `echo secret | kinit alice >/dev/null`)
	s.shFails(bob, `klist`)
	s.shFails(bob, `KRB5CCNAME=KCM:20001 klist`)
	s.shFails(bob, `KRB5CCNAME=KCM:20001 kdestroy; KRB5CCNAME=KCM:20001 klist`)
	s.sh(bob, `echo secret | kinit bob >/dev/null`)
	refuse(t, s.sh(bob, `klist -A`), "alice")
	expect(t, s.sh(alice, `klist`), "Default principal: alice@EXAMPLE.TEST")
	// The super user reaches a cache by name, and that is in the log.
	expect(t, s.sh(0, `KRB5CCNAME=KCM:20001 klist`), "Default principal: alice@EXAMPLE.TEST")
	refuse(t, s.sh(0, `klist -A || :`), "alice", "bob")
}
