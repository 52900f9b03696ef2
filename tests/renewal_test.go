package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gosssd/layout"
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
	return newRenewalOf(t, needRealm(t).dir, renewing(storage))
}

// newRenewalOf is such a system for the KDC that keeps its things in dir.
func newRenewalOf(t *testing.T, dir, conf string) *system {
	t.Helper()
	return newSystem(t, conf).askingKDC(dir)
}

// askingKDC starts a system whose krb5.conf, and that of sssd_kcm, names the KDC
// that keeps its things in dir.
func (s *system) askingKDC(dir string) *system {
	s.t.Helper()
	s.krb5ConfOf(dir, "default_ccache_name = KCM:", "kcm_socket = "+s.path(sockets["sssd_kcm"]))
	text, err := os.ReadFile(s.path("/krb5.conf"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("/etc/krb5.conf", string(text), 0o644)
	return s.start()
}

var times = regexp.MustCompile(`\d\d/\d\d/\d\d \d\d:\d\d:\d\d`)

// TestTicketsAreRenewedInPlace with MIT's KDC, in every storage.
func TestTicketsAreRenewedInPlace(t *testing.T) {
	t.Parallel()
	systems := map[string]*system{}
	for _, storage := range []string{"secrets", "secdb", "memory"} {
		systems[storage] = newRenewal(t, storage)
	}
	followRenewals(t, systems)
}

// TestTheConfigurationOfAHostRenewsUnchanged: its tgt_renewal inherits from the
// domain that SSSD serves.
func TestTheConfigurationOfAHostRenewsUnchanged(t *testing.T) {
	t.Parallel()
	r := needRealm(t)
	text, err := os.ReadFile("../confdb/testdata/ipa-joined.conf")
	if err != nil {
		t.Fatal(err)
	}
	inBothForms(t, func(t *testing.T, form layout.Layout) {
		t.Parallel()
		s := newSystemOf(t, form, string(text)).askingKDC(r.dir)
		u := somebody()
		s.sh(u, "echo secret | kinit -l 6s -r 1h u1; kvno -q host/server.example.test")
		before := s.sh(u, "klist -C")
		await(func() bool { return s.sh(u, "klist -C") != before })
		onlyTimesChanged(t, form.Form, before, s.sh(u, "klist -C"))
	})
}

// TestHeimdalsKDCRenewsInPlace with Heimdal's KDC.
func TestHeimdalsKDCRenewsInPlace(t *testing.T) {
	t.Parallel()
	needUnpacked(t, "heimdal", "heimdal-kdc", "")
	dir := t.TempDir()
	k, err := startKDC(dir, "env", "KIND=heimdal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.stop)
	followRenewals(t, map[string]*system{"Heimdal's KDC": newRenewalOf(t, dir, renewing("secdb"))})
}

// followRenewals has three users' caches live several times the life of their
// tickets. Nothing in them changes but the times of the ticket-granting ticket.
func followRenewals(t *testing.T, systems map[string]*system) {
	t.Helper()
	n, life := lives()
	const show = "klist -A -C -e"
	before := map[*system][]string{}
	for _, s := range systems {
		for i, u := range everybody() {
			s.sh(u, fmt.Sprintf(`
				echo secret | kinit u%d
				echo secret | kinit -l %ds -r 5m u%d
				kvno host/server.example.test host/other.example.test host/fourth.example.test host/fifth.example.test`, 2*i+2, life, 2*i+1))
			before[s] = append(before[s], s.sh(u, show))
		}
	}
	time.Sleep(time.Duration(n*life) * time.Second) // all of it: that no ticket ends is what is shown
	for what, s := range systems {
		for i, u := range everybody() {
			onlyTimesChanged(t, fmt.Sprintf("%s, uid %d", what, u), before[s][i], s.sh(u, show))
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

// TestTicketsAreRenewedWithoutAClient: sssd starts the server for them, also
// where systemd holds the socket (TestUnderSystemdTicketsAreRenewedWithoutAClient).
func TestTicketsAreRenewedWithoutAClient(t *testing.T) {
	t.Parallel()
	s := newRenewal(t, "secrets")
	renewals := func() int { return strings.Count(s.log("sssd_kcm"), "a ticket is renewed") }
	more := func(what string) {
		t.Helper()
		before := renewals()
		await(func() bool { return renewals() > before })
		if renewals() == before {
			t.Errorf("no ticket is renewed %s", what)
		}
	}
	s.sh(somebody(), `echo secret | kinit -l 6s -r 1h u1`)
	s.kill(syscall.SIGTERM)
	s.start()
	more("after a restart")
	s.killHard("sssd_kcm")
	more("after the server was killed")
	out := s.ctl(user(os.Getuid()), "", "status")
	if !regexp.MustCompile(`Renewal of tickets: 1 known, next due 20\S+ \S+, [1-9]\d* renewed, 0 refused, 0 unanswered, 0 failed otherwise\n`).MatchString(out.stdout) {
		t.Errorf("%+v", out)
	}
	out = s.ctl(user(os.Getuid()), "", "ccache", "list", "--user", fmt.Sprint(somebody()))
	if !regexp.MustCompile(`(?m)^`+fmt.Sprint(somebody())+`\b.*  `+fmt.Sprint(somebody())+`\S* \*  u1@EXAMPLE.TEST +1 +\S+ \S*B +- +20\S+ \S+  20\S+ \S+  due at 20\S+ \S+$`).MatchString(out.stdout) || out.code != 0 {
		t.Errorf("%+v", out)
	}
	for expiring, want := range map[string]int{"1000h": 1, "1ms": 0} {
		out = s.ctl(user(os.Getuid()), "", "ccache", "list", "--all", "-j", "--expiring", expiring)
		var caches []struct {
			UID       user
			Principal string
			Expires   time.Time
			Renewal   struct{ Next time.Time }
		}
		if err := json.Unmarshal([]byte(out.stdout), &caches); err != nil || len(caches) != want || out.code != 0 {
			t.Errorf("--expiring %s: %+v, %v", expiring, out, err)
		}
		for _, c := range caches {
			if c.UID != somebody() || c.Principal != "u1@EXAMPLE.TEST" || c.Expires.IsZero() || c.Renewal.Next.IsZero() || c.Expires.Location() != time.UTC {
				t.Errorf("--expiring %s: %+v", expiring, out)
			}
		}
	}
	if out := s.ctl(user(os.Getuid()), "", "ccache", "list", "--user", "nobody-of-this-name"); out.code != 1 || !strings.Contains(out.stderr, "there is no user") {
		t.Errorf("%+v", out)
	}
	expect(t, s.sh(somebody(), "klist"), "Default principal: u1@EXAMPLE.TEST")
}

func TestUnderSystemdTicketsAreRenewedWithoutAClient(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, renewing("secrets"))
	m.sh(0, `systemctl start sssd`)
	m.eventually(`systemctl is-active sssd-kcm.service`, "active") // and nobody has called
	m.sh(someone, `echo secret | kinit -l 6s -r 1h u1 >/dev/null`)
	m.sh(0, `systemctl restart sssd; truncate -s 0 /var/log/sssd/sssd_kcm.log`)
	m.eventually(`grep -o 'a ticket is renewed' /var/log/sssd/sssd_kcm.log | sort -u`, "a ticket is renewed")
	m.sh(0, `systemctl kill --signal=KILL sssd-kcm.service; truncate -s 0 /var/log/sssd/sssd_kcm.log`)
	m.eventually(`grep -o 'a ticket is renewed' /var/log/sssd/sssd_kcm.log | sort -u`, "a ticket is renewed")
}

// TestTheSessionKeysTypeStays for every encryption type in use.
func TestTheSessionKeysTypeStays(t *testing.T) {
	t.Parallel()
	s := newRenewal(t, "memory")
	types := []string{"aes128-cts-hmac-sha1-96", "aes256-cts-hmac-sha1-96", "aes128-cts-hmac-sha256-128", "aes256-cts-hmac-sha384-192"}
	u := somebody()
	for _, name := range types {
		s.sh(u, fmt.Sprintf(`conf=$(mktemp)
			sed 's/^\[libdefaults\]/&\n  default_tkt_enctypes = %[1]s/' "$KRB5_CONFIG" >"$conf"
			echo secret | KRB5_CONFIG="$conf" kinit -c KCM:%[2]d:%[1]s -l 6s -r 1h u1
			rm "$conf"`, name, u))
	}
	for _, name := range types {
		await(func() bool { return renewedIn(s.log("sssd_kcm"), name) })
		if !renewedIn(s.log("sssd_kcm"), name) {
			t.Errorf("the ticket with %s is not renewed", name)
		}
		expect(t, s.sh(u, fmt.Sprintf("klist -e KCM:%d:%s", u, name)), "(skey, tkt): "+name+",")
	}
}

// renewedIn reports whether a log tells of a renewal in the cache with this name.
func renewedIn(log, cache string) bool {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "a ticket is renewed") && strings.Contains(line, cache) {
			return true
		}
	}
	return false
}
