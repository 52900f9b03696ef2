package tests

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// renewing is a configuration that has tickets renewed.
func renewing(storage string) string {
	return kept(storage, "tgt_renewal = true", "krb5_renew_interval = 5s", "krb5_auth_timeout = 2s", "debug_level = 6")
}

// lives is through how many lives of a ticket the tests follow it: RENEW_LIVES,
// or 3; and its life RENEW_LIFE in seconds, or 4.
func lives() (n, life int) {
	n, life = 3, 4
	for name, value := range map[string]*int{"RENEW_LIVES": &n, "RENEW_LIFE": &life} {
		if set, err := strconv.Atoi(os.Getenv(name)); err == nil {
			*value = set
		}
	}
	return n, life
}

// newRenewal is a system that renews, whose krb5.conf is also that of sssd_kcm.
func newRenewal(t *testing.T, storage string) *system {
	t.Helper()
	needRealm(t)
	s := newSystem(t, renewing(storage))
	conf, err := os.ReadFile(s.path("/krb5.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("/etc/krb5.conf", string(conf), 0o644)
	return s.start()
}

var times = regexp.MustCompile(`\d\d/\d\d/\d\d \d\d:\d\d:\d\d`)

// Three users' caches live several times the life of their tickets, and nothing
// in them changes but the times of the ticket-granting ticket.
func TestTicketsAreRenewedInPlace(t *testing.T) {
	t.Parallel()
	n, life := lives()
	const show = "klist -A -C -e"
	systems := map[string]*system{}
	before := map[*system][]string{}
	for _, storage := range []string{"secrets", "secdb", "memory"} {
		s := newRenewal(t, storage)
		systems[storage] = s
		for i, u := range everybody() {
			s.sh(u, fmt.Sprintf(`
				echo secret | kinit u%d
				echo secret | kinit -l %ds -r 1h u%d
				kvno host/server.example.test host/other.example.test`, 2*i+2, life, 2*i+1))
			before[s] = append(before[s], s.sh(u, show))
		}
	}
	time.Sleep(time.Duration(n*life) * time.Second)
	for storage, s := range systems {
		for i, u := range everybody() {
			onlyTimesChanged(t, fmt.Sprintf("%s, uid %d", storage, u), before[s][i], s.sh(u, show))
			expect(t, s.sh(u, "kvno host/third.example.test; klist"), fmt.Sprintf("Default principal: u%d@", 2*i+1))
		}
		expect(t, s.log("sssd_kcm"), "a ticket is renewed")
	}
}

// onlyTimesChanged compares what klist showed before and after the renewal of
// one ticket-granting ticket.
func onlyTimesChanged(t *testing.T, what, before, after string) {
	t.Helper()
	old, fresh := strings.Split(before, "\n"), strings.Split(after, "\n")
	changed := 0
	for i := range old {
		if i >= len(fresh) || old[i] == fresh[i] {
			continue
		}
		changed++
		if !strings.Contains(old[i], "krbtgt/EXAMPLE.TEST") || times.ReplaceAllString(old[i], "") != times.ReplaceAllString(fresh[i], "") {
			t.Errorf("%s: %q became %q", what, old[i], fresh[i])
		}
	}
	if len(old) != len(fresh) || changed != 1 {
		t.Errorf("%s: before\n%s\nafter\n%s", what, before, after)
	}
}
