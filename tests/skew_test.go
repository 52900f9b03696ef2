package tests

import (
	"path/filepath"
	"strings"
	"testing"
)

// skews are how far the clock of one side is from the other's.
var skews = []string{"+12m", "-12m", "+26h", "-26h"}

// Where the clocks of client and KDC differ by more than five minutes, a
// ticket is of use only to a client that knows by how much: kinit learns that,
// and the cache hands it on (krb5 ticket 8826).
func TestTicketsAreOfUseWhileTheClocksDiffer(t *testing.T) {
	t.Parallel()
	needRealm(t)
	fake := needFaketime(t)
	s := newSystem(t, defaults).start()
	lines := []string{"default_ccache_name = KCM:", "kcm_socket = " + s.path("/var/run/.heim_org.h5l.kcm-socket"), "kdc_timesync = 1"} // which Heimdal must be told
	s.krb5Conf(lines...)
	t.Run("the clients' clock", func(t *testing.T) {
		for _, by := range skews {
			useTickets(t, s, by, strings.Join(fake(by), " "))
		}
	})
	t.Run("the KDC's clock", func(t *testing.T) {
		for _, by := range skews {
			dir := filepath.Join(s.root, "kdc"+by)
			kdc, err := startKDC(dir, fake(by)...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(kdc.stop)
			s.krb5ConfOf(dir, lines...)
			useTickets(t, s, by, "")
		}
	})
}

// needFaketime returns the words that have a command live at another time. The
// program faketime is not used: it makes semaphores by its process number, which
// are left behind when it is killed, and then are in the way of another one.
func needFaketime(t *testing.T) (at func(by string) []string) {
	t.Helper()
	libraries, err := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if err != nil || len(libraries) == 0 {
		skip(t, "needs faketime")
	}
	return func(by string) []string { return []string{"env", "LD_PRELOAD=" + libraries[0], "FAKETIME=" + by} }
}

// useTickets has MIT's and Heimdal's clients, with the words of before in
// front of them, get tickets with those they have. Without the lifetime a
// client whose clock is a day behind would ask for a ticket that has expired
// by the KDC's.
func useTickets(t *testing.T, s *system, by, before string) {
	t.Helper()
	on := *s
	on.t = t
	out := on.sh(somebody(), login+`
		echo secret | `+before+` kinit -l 3d -r 4d alice >/dev/null
		`+before+` kvno -q host/server.example.test
		`+before+` kinit -R
		`+before+` kvno -q host/other.example.test
		`+before+` klist
		echo secret | `+before+` kinit -l 3d -T KCM: -c MEMORY: bob >/dev/null
		kdestroy -A`)
	expect(t, out, "host/other.example.test@EXAMPLE.TEST")
	if t.Failed() {
		t.Fatalf("with the clock at %s", by)
	}
	out = on.sh(somebody(), heimdal(t, `BEFORE="`+before+`"
		h_kinit --lifetime=3d alice
		h_kgetcred host/server.example.test
		$BEFORE kvno -q host/other.example.test
		h_klist
		kdestroy
		echo secret | $BEFORE kinit -l 3d alice >/dev/null
		h_kgetcred host/server.example.test
		$BEFORE klist
		kdestroy -A`))
	expect(t, out, "host/other.example.test@EXAMPLE.TEST", "host/server.example.test@EXAMPLE.TEST")
	if t.Failed() {
		t.Fatalf("Heimdal, with the clock at %s", by)
	}
}
