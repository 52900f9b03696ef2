package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// debiansSSSD is what SSSD itself needs to run: a domain and a service.
const debiansSSSD = `[sssd]
services = nss
domains = machine
[domain/machine]
id_provider = files
[nss]
filter_users = root
`

// bootBeside boots a machine on which Debian's sssd and gosssd beside it run.
func bootBeside(t *testing.T, kcm string) *machine {
	t.Helper()
	needUnpacked(t, "sssd", "sssd-common", "")
	m := bootForm(t, "beside", debiansSSSD+kcm, "sssd")
	m.sh(0, `ldconfig
		systemctl enable -q gosssd sssd-kcm.socket sssd
		systemctl start sssd gosssd sssd-kcm.socket`)
	m.eventually(`systemctl is-active sssd gosssd sssd-kcm.socket`, "active\nactive\nactive")
	return m
}

// setKCM edits [kcm], as an administrator does.
func (m *machine) setKCM(kcm string) {
	m.t.Helper()
	m.write("/etc/sssd/sssd.conf", debiansSSSD+kcm)
}

// TestBesideSSSDARestartOfItPutsAnEditIntoForce is what sssd-kcm(8) promises on
// a host whose sssd is SSSD's own: edit [kcm], restart sssd.
func TestBesideSSSDARestartOfItPutsAnEditIntoForce(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	m := bootBeside(t, "[kcm]\ndebug_level = 2\n")
	m.sh(someone, kinit)
	level := func() string { t.Helper(); m.sh(someone, `klist -s`); return m.sh(0, `gosssctl debug-level --kcm`) }
	expect(t, level(), "0x0070")
	m.setKCM("[kcm]\ndebug_level = 6\n")
	m.sh(0, `systemctl restart sssd-kcm`)
	expect(t, level(), "0x0070")
	m.clients(someone, work, func() {
		m.sh(0, `systemctl restart sssd`)
		expect(t, level(), "0x07f0")
		for i := range 2 { // SSSD's unit allows five starts in 50 s
			m.setKCM(fmt.Sprintf("[kcm]\nfd_limit = %d\n", 1000+i))
			m.sh(0, `systemctl restart sssd`)
			expect(t, m.sh(0, `gosssctl config-show kcm`), fmt.Sprintf("fd_limit = %d ", 1000+i))
		}
	})
	// What SSSD wants and we do not know is no reason to fail, nor to warn.
	refuse(t, m.sh(0, `journalctl --no-pager -u gosssd`), "services", "domains", "Failed")
	expect(t, m.sh(0, `cat /run/sssd.pid; pidof /usr/sbin/sssd`), m.property("sssd", "MainPID")+"\n")
	refuse(t, m.sh(0, `cat /var/log/sssd/gosssd.log`), "(0x0020)", "(0x0040)")
	refuse(t, m.sh(0, `cat /var/log/sssd/sssd_kcm.log`), "cannot")
	expect(t, m.sh(0, `gosssctl status`), "kcm      running")
	expect(t, m.sh(0, `sssctl domain-list 2>&1 || :; ls /var/lib/sss/db`), "InfoPipe", "config.ldb\n", "gosssd.db\n")
	// A restart of SSSD that fails for a mistake in what is ours: who runs, runs on.
	m.setKCM("[kcm]\nfd_limitt = 1\n")
	_, _ = m.try(0, `systemctl restart sssd`)
	m.eventually(`systemctl is-failed gosssd`, "failed")
	m.sh(someone, `klist -s`)
	expect(t, m.sh(0, `systemctl is-active sssd; journalctl --no-pager -u gosssd`), "active\n", "did you mean 'fd_limit'")
}

// TestBesideSSSDAStopOfItLeavesClientsServed, and its start takes the newest
// configuration, whatever administrators do to SSSD's caches meanwhile.
func TestBesideSSSDAStopOfItLeavesClientsServed(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	m := bootBeside(t, "[kcm]\ndebug_level = 2\n")
	m.sh(someone, kinit)
	m.clients(someone, work, func() {
		m.sh(0, `systemctl stop sssd`)
		m.eventually(`echo $(systemctl is-active sssd gosssd sssd-kcm.socket)`, "inactive inactive active")
		m.sh(someone, `n=0; while [ $n -lt 20 ]; do `+kinit+`; klist -s; n=$((n+1)); done; kvno -q host/server.example.test`)
	})
	m.setKCM("[kcm]\ndebug_level = 6\n")
	m.sh(0, `rm -rf /var/lib/sss/db/*; systemctl start sssd`)
	m.eventually(`systemctl is-active sssd gosssd`, "active\nactive")
	expect(t, m.sh(someone, `klist`), "host/server.example.test@EXAMPLE.TEST")
	m.eventually(`gosssctl debug-level --kcm`, "0x07f0")
}

// TestBesideSSSDAHungResponderDoesNotHoldItUp: gosssd is ordered before sssd,
// and kills one that does not answer.
func TestBesideSSSDAHungResponderDoesNotHoldItUp(t *testing.T) {
	t.Parallel()
	m := bootBeside(t, "[kcm]\n")
	m.sh(someone, kinit)
	began := time.Now()
	m.sh(0, `kill -STOP $(systemctl show --value -p MainPID sssd-kcm); systemctl restart sssd; systemctl is-active sssd gosssd`)
	t.Logf("sssd is restarted after %v", time.Since(began)) // mostly our waiting for the hung one
	m.sh(someone, `klist -s`)
	expect(t, m.sh(0, `cat /var/log/sssd/gosssd.log`), "does not answer")
}

// TestBesideSSSDItsRotationOfLogsTakesOurs has Debian's entry of logrotate, which
// tells only SSSD's processes.
func TestBesideSSSDItsRotationOfLogsTakesOurs(t *testing.T) {
	t.Parallel()
	needUnpacked(t, "logrotate", "logrotate", "")
	m := bootBeside(t, "[kcm]\ndebug_level = 6\n")
	m.sh(someone, kinit)
	m.sh(0, `logrotate -f -s /run/state /etc/logrotate.d/sssd-common`)
	m.eventually(`setpriv --reuid 20001 --regid 20001 --clear-groups klist -s; cat /var/log/sssd/sssd_kcm.log`, "op=")
	expect(t, m.sh(0, `ls /var/log/sssd`), "sssd_kcm.log.1\n", "sssd.log.1\n")
}

// TestBesideSSSDTheSecretsServiceIsToBeSwitchedOn: it does not listen by
// default, and who chooses it without that is told.
func TestBesideSSSDTheSecretsServiceIsToBeSwitchedOn(t *testing.T) {
	t.Parallel()
	m := bootBeside(t, "[kcm]\n")
	m.sh(someone, kinit)
	m.sh(0, `test ! -e /run/secrets.socket`)
	m.setKCM("[kcm]\nccache_storage = secrets\n")
	const told = "[kcm] ccache_storage: needs sssd_secrets, and nobody listens at /var/run/secrets.socket: systemctl enable --now sssd-secrets.socket"
	out, err := m.try(0, `gosssctl config-check`)
	if err == nil {
		t.Error("config-check finds nothing wrong")
	}
	expect(t, out, told)
	m.sh(0, `systemctl restart sssd`)
	expect(t, m.sh(0, `journalctl --no-pager -u gosssd`), told)
	_, command, _ := strings.Cut(told, "socket: ")
	m.sh(0, command+`; gosssctl config-check; gosssctl ccache move`)
	expect(t, m.sh(someone, `klist; echo secret | kinit bob >/dev/null; klist -l`), "alice@EXAMPLE.TEST", "bob@EXAMPLE.TEST")
	m.eventually(`gosssctl status`, "secrets  running")
}
