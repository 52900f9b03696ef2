package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// someone is an ordinary user of a machine.
const someone user = 20001

// kinit gets a ticket into the default cache.
const kinit = `echo secret | kinit alice >/dev/null`

func TestStartingTheSocketOfKCMIsEnoughForAClient(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, `systemctl start sssd-kcm.socket`)
	out := m.sh(someone, kinit+`; klist; kvno host/server.example.test; klist`)
	expect(t, out, "Ticket cache: KCM:20001", "krbtgt/EXAMPLE.TEST@EXAMPLE.TEST", "host/server.example.test@EXAMPLE.TEST")
	for unit, state := range map[string]string{
		"sssd.service": "inactive", "sssd-kcm.service": "active",
		"sssd-secrets.socket": "active", "sssd-secrets.service": "active",
	} {
		if is := m.property(unit, "ActiveState"); is != state {
			t.Errorf("%s is %s, not %s", unit, is, state)
		}
	}
	expect(t, m.sh(0, `cat /var/log/sssd/sssd_kcm.log`), "built-in defaults are in force; start sssd")
	m.sh(0, `systemctl stop sssd-kcm sssd-secrets`)
	expect(t, m.sh(someone, `klist`), "host/server.example.test@EXAMPLE.TEST")
}

// TestTheTwoLinesOfTheReadmeInstallIt runs the second on a machine that was
// made by the first, over Debian's krb5.conf.
func TestTheTwoLinesOfTheReadmeInstallIt(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, second, found := strings.Cut(string(readme), "\n    make install use-kcm\n    ")
	second, _, _ = strings.Cut(second, "\n")
	if !found || !strings.HasPrefix(second, "systemctl enable --now ") {
		t.Fatalf("the README does not say how to install, but: %s", second)
	}
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, second)
	expect(t, m.sh(someone, kinit+`; klist`), "Ticket cache: KCM:20001", "krbtgt/EXAMPLE.TEST@EXAMPLE.TEST")
	expect(t, m.sh(0, `systemctl is-enabled sssd sssd-kcm.socket`), "enabled\nenabled\n")
	expect(t, m.sh(0, `sssctl status`), "kcm      running")
}

func TestUnitsAreAcceptedAndConfined(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\n")
	const units = `sssd.service sssd-kcm.service sssd-secrets.service`
	if out := m.sh(0, `systemd-analyze verify --man=no `+units+` sssd-kcm.socket sssd-secrets.socket 2>&1`); out != "" {
		t.Errorf("systemd-analyze verify: %s", out)
	}
	for unit := range strings.FieldsSeq(units) {
		if score := exposure(t, m.sh(0, `systemd-analyze security --no-pager `+unit)); score > mostExposed {
			t.Errorf("%s has an exposure of %.1f, not at most %.1f", unit, score, mostExposed)
		}
	}
	expect(t, m.sh(0, `stat -c '%a %U %n' /etc/sssd /var/lib/sss/db /var/lib/sss/secrets /var/lib/sss/pipes/private /var/log/sssd`),
		"711 root /etc/sssd\n", "700 root /var/lib/sss/db\n", "700 root /var/lib/sss/secrets\n",
		"750 root /var/lib/sss/pipes/private\n", "750 root /var/log/sssd\n")
}

func TestSssdServesWhereAnSssdWithItsOwnUserLeftItsDirectories(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[kcm]\ndebug_level = 6\n")
	m.sh(0, `cd /var; chown -R 990 lib/sss log/sssd; chmod 770 lib/sss/* lib/sss/pipes/private log/sssd`)
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, kinit+`; klist`)
	expect(t, m.sh(0, `cat /var/log/sssd/sssd_kcm.log`), "registered with the monitor")
}

// clients runs copies of a script on the machine over and over while do runs,
// and fails the test if one of them has failed.
func (m *machine) clients(u user, scripts []string, do func()) {
	m.t.Helper()
	m.sh(0, `rm -f /tmp/enough`)
	outcome := make([]string, len(scripts))
	ended := make(chan struct{}, len(scripts))
	for i, script := range scripts {
		go func() {
			outcome[i], _ = m.try(u, `n=0; until [ -e /tmp/enough ] && [ $n -ge 10 ]; do `+script+`; n=$((n+1)); done; echo "times: $n"`)
			ended <- struct{}{}
		}()
	}
	do()
	m.sh(0, `touch /tmp/enough`)
	for range scripts {
		<-ended
	}
	for i, out := range outcome {
		var n int
		if _, err := fmt.Sscanf(out, "times: %d", &n); err != nil || n < 10 {
			m.t.Errorf("%s: %s", scripts[i], out)
		}
		m.t.Logf("without a failure, %d times: %s", n, scripts[i])
	}
}

// work is what clients do all the while: read a cache, and write another.
var work = []string{
	`klist >/dev/null`,
	`klist -s`,
	`echo secret | kinit -c KCM:20001:bob bob >/dev/null; kdestroy -c KCM:20001:bob`,
}

func TestTenRestartsOfSssdFailNoClient(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, kinit)
	m.clients(someone, work, func() {
		for i := range 10 { // each with an option that no responder takes over while it runs
			m.write("/etc/sssd/sssd.conf", fmt.Sprintf("[kcm]\nfd_limit = %d\n[secrets]\nfd_limit = %d\n", 1000+i, 1000+i))
			m.sh(0, `systemctl restart sssd`)
			// One that was about to start has the new configuration as well.
			old := m.sh(0, `sssctl status 2>/dev/null | awk 'NR == 2 { now = $6 } NR > 2 && $2 == "running" && $6 != now'`)
			if old != "" {
				t.Errorf("after restart %d with another generation than sssd: %s", i, old)
			}
		}
	})
	expect(t, m.sh(0, `systemctl is-active sssd sssd-kcm.socket sssd-secrets.socket`), "active\nactive\nactive")
}

func TestRespondersThatAreKilledAgainAndAgainComeBack(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, kinit)
	for range 8 { // more than systemd's usual limit of starts
		m.sh(0, `systemctl kill -s KILL sssd-kcm sssd-secrets`)
		m.sh(someone, `klist -s`)
	}
	if n := m.property("sssd-kcm.service", "NRestarts"); n == "0" {
		t.Error("systemd has restarted nothing; the test proves nothing")
	}
}

// TestSecretsStartsWhileKCMIsStopped has kcm end with a client whose caches it
// asks the secrets service for, which starts anew meanwhile: systemd would not
// start it before kcm has ended if their services were ordered.
func TestSecretsStartsWhileKCMIsStopped(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, kinit)
	m.sh(0, `systemctl stop sssd-kcm; systemctl kill -s STOP sssd-secrets`) // the next kcm has no caches in memory
	answered := make(chan error, 1)
	go func() {
		_, err := m.try(someone, `klist -s`)
		answered <- err
	}()
	m.eventually(`awk '$6 == "02" && $8 == "/run/secrets.socket" { print "waits" }' /proc/net/unix`, "waits")
	m.sh(0, `systemctl stop --no-block sssd-kcm`)
	m.eventually(`systemctl is-active sssd-kcm || :`, "deactivating")
	m.sh(0, `systemctl kill -s KILL sssd-secrets`)
	if err := <-answered; err != nil {
		t.Errorf("klist: %v", err)
	}
}

func TestUnderSystemdOnlyARestartOfSssdReadsTheConfiguration(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	m := bootMachine(t, "[kcm]\ndebug_level = 2\n")
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, kinit)
	status := func() string {
		m.t.Helper()
		m.sh(someone, `klist -s`)
		return m.eventually(`sssctl debug-level --kcm; sssctl status`, "secrets  running")
	}
	expect(t, status(), "0x0070")
	m.write("/etc/sssd/sssd.conf", "[kcm]\ndebug_level = 6\n")
	m.sh(0, `systemctl restart sssd-kcm sssd-secrets`)
	out := status()
	expect(t, out, "0x0070")
	refuse(t, out, "0x07f0")
	m.sh(0, `systemctl restart sssd`)
	expect(t, status(), "0x07f0")

	// What cannot be in force leaves everything as it was.
	m.write("/etc/sssd/sssd.conf", "[kcm]\ndebug_lewel = 3\n")
	if out, err := m.try(0, `systemctl restart sssd`); err == nil {
		t.Errorf("sssd starts with a wrong sssd.conf: %s", out)
	}
	expect(t, m.sh(0, `journalctl --no-pager -u sssd`), "/etc/sssd/sssd.conf:2:", "debug_level")
	if n := m.property("sssd.service", "NRestarts"); n != "0" {
		t.Errorf("systemd has tried the wrong sssd.conf %s times more", n)
	}
	m.sh(someone, `klist -s`)
}

func TestTheMasterKeyMayComeFromSystemd(t *testing.T) {
	t.Parallel()
	for storage, file := range vaults {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			name := strings.TrimSuffix(file, ".db") + ".mkey"
			m := bootMachine(t, storedIn(storage))
			m.sh(0, `mkdir -m 700 /etc/credstore.encrypted
				head -c 32 /dev/urandom | systemd-creds encrypt --with-key=host --name=`+name+` - /etc/credstore.encrypted/`+name+`
				systemctl start sssd`)
			m.sh(someone, kinit)
			m.sh(0, `test -e /var/lib/sss/secrets/`+file+`; test ! -e /var/lib/sss/secrets/.`+name+`; systemctl restart sssd`)
			m.sh(someone, `klist -s`)
			if out, err := m.try(0, `sssctl secrets rekey 2>&1`); err == nil || !strings.Contains(out, "not all under a new master key") ||
				!strings.Contains(out, "which only an administrator can replace") {
				t.Errorf("sssctl secrets rekey: %v, %s", err, out)
			}
			m.sh(0, `systemctl stop sssd sssd-kcm sssd-secrets; mv /etc/credstore.encrypted /etc/away; systemctl start sssd`)
			if out, err := m.try(someone, `klist`); err == nil {
				t.Errorf("the cache can be read without the key:\n%s", out)
			}
		})
	}
}

func TestTheWatchdogIsFedAndReplacesAnSssdThatHangs(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\n")
	m.write("/etc/systemd/system/sssd.service.d/watchdog.conf", "[Service]\nWatchdogSec=2s\n")
	m.sh(0, `systemctl daemon-reload; systemctl start sssd`)
	m.sh(someone, kinit)
	const fed = `systemctl show --value -p WatchdogTimestampMonotonic sssd.service`
	pid, last := m.property("sssd.service", "MainPID"), ""
	for range 2 {
		out := m.eventually(fed+` | grep -vx "`+last+`" && echo fed`, "fed")
		last, _, _ = strings.Cut(out, "\n")
	}
	if now := m.property("sssd.service", "MainPID"); now != pid {
		t.Fatalf("the watchdog has ended an sssd that was well: process %s is now %s", pid, now)
	}
	m.sh(0, `kill -STOP `+pid)
	m.eventually(`systemctl show --value -p MainPID sssd.service | grep -vx -e 0 -e `+pid+` && systemctl is-active sssd`, "active")
	m.sh(someone, `klist -s`)
	expect(t, m.sh(0, `journalctl --no-pager -u sssd`), "Watchdog timeout")
	m.eventually(`sssctl status`, "kcm      running")
}

func TestTheJournalGetsTheFieldsOfSSSD(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[kcm]\ndebug_level = 6\n")
	m.write("/etc/default/sssd", "DEBUG_LOGGER=--logger=journald --debug-microseconds=1\n")
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, kinit)
	out := m.eventually(`journalctl --no-pager -o json _SYSTEMD_UNIT=sssd-kcm.service SSSD_PRG_NAME='sssd[kcm]'`, "registered with the monitor")
	for line := range strings.Lines(out) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		for _, field := range []string{"MESSAGE", "PRIORITY", "SSSD_DEBUG_LEVEL", "CODE_FILE", "CODE_LINE", "CODE_FUNC"} {
			if entry[field] == nil || entry[field] == "" {
				t.Errorf("no %s in %s", field, line)
			}
		}
	}
	m.sh(0, `test ! -s /var/log/sssd/sssd_kcm.log`)
}

func TestLogrotateMovesAllLogsAndTheirWritersWithThem(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]string{
		"under systemd":                      `logrotate -f -s /run/state /etc/logrotate.d/sssd`,
		"where sssd alone hands a signal on": `unshare -m sh -euc 'umount -l /run/systemd 2>/dev/null || mount -t tmpfs none /run/systemd; logrotate -f -s /run/state /etc/logrotate.d/sssd'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needUnpacked(t, "logrotate", "logrotate", "")
			m := bootMachine(t, "[sssd]\ndebug_level = 6\n[kcm]\ndebug_level = 6\n[secrets]\ndebug_level = 6\n")
			m.sh(0, `systemctl start sssd`)
			m.sh(someone, kinit)
			m.eventually(`sssctl status`, "secrets  running")
			m.sh(0, rotate)
			for _, program := range []string{"sssd", "sssd_kcm", "sssd_secrets"} {
				m.eventually(`cat /var/log/sssd/`+program+`.log`, "configuration is read only when sssd starts")
				expect(t, m.sh(0, `cat /var/log/sssd/`+program+`.log.1`), "ready")
			}
			expect(t, m.sh(0, `stat -c %a /var/log/sssd/*.log`), "600\n600\n600\n")
		})
	}
}

func TestUnderSystemdTheMonitorMayHoldTheSockets(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\nsocket_activation = monitor\n")
	m.sh(0, `systemctl mask --now sssd-kcm.socket sssd-secrets.socket; systemctl start sssd`)
	m.sh(someone, kinit)
	m.clients(someone, work, func() {
		for range 3 {
			before := m.property("sssd.service", "MainPID")
			m.sh(0, `systemctl kill --kill-who=main -s KILL sssd`)
			m.eventually(`systemctl show --value -p MainPID sssd.service | grep -vx -e 0 -e `+before+` && systemctl is-active sssd`, "active")
		}
	})
	m.sh(0, `systemctl stop sssd; ! pgrep -x 'sssd|sssd_kcm|sssd_secrets'`)
}

func TestUnderSystemdAnUpgradeTakesEffectAtARestart(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\n")
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, kinit)
	m.eventually(`sssctl status`, "kcm      running")
	before := m.property("sssd-kcm.service", "MainPID")
	m.sh(0, `cd /usr/libexec/sssd; cp sssd_kcm new; mv new sssd_kcm`)
	expect(t, m.sh(0, `sssctl status`), "(replaced)")
	m.sh(0, `systemctl restart sssd`) // sssd.conf is what it was
	m.sh(someone, `klist -s`)
	if now := m.property("sssd-kcm.service", "MainPID"); now == before {
		t.Errorf("the old program goes on as process %s", now)
	}
	refuse(t, m.eventually(`sssctl status`, "kcm      running"), "(replaced)")
}

func TestUnderSystemdNoClientHangsWhenAResponderCannotStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ spoil, mend, says string }{
		"its lock file is a directory": {
			`rm -f /run/sssd_kcm.pid; mkdir /run/sssd_kcm.pid`, `rmdir /run/sssd_kcm.pid 2>/dev/null || :`, "is a directory",
		},
		"its program is missing": {
			`mv /usr/libexec/sssd/sssd_kcm /usr/libexec/sssd/away`,
			`mv /usr/libexec/sssd/away /usr/libexec/sssd/sssd_kcm 2>/dev/null || :; systemctl restart sssd`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := bootMachine(t, "[sssd]\n")
			m.sh(0, `systemctl start sssd`)
			m.sh(someone, kinit)
			m.sh(0, `systemctl stop sssd-kcm.service; `+c.spoil)
			out, err := m.try(someone, `timeout 20 klist 2>&1`)
			if err == nil || !strings.Contains(out, "klist: ") {
				t.Errorf("klist: %v, %q; want an error of its own, in time", err, out)
			}
			if c.says != "" {
				expect(t, m.sh(0, `cat /var/log/sssd/sssd_kcm.log`), c.says)
			}
			soon(t, func() bool {
				m.sh(0, c.mend) // again, where systemd's limit of activations holds for some seconds
				_, err := m.try(someone, `timeout 20 klist -s`)
				return err == nil
			}, func() string { return "klist fails for ever" })
		})
	}
}
