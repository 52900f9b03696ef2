package tests

import (
	"fmt"
	"strings"
	"testing"
)

// machineSocket is where a booted machine's pod finds its identity socket.
const machineSocket = "/run/pods/web/kcm"

// bootWithPod boots a machine that has the directory of an identity socket, and
// starts sssd. The test's scripts can use the function pod.
func bootWithPod(t *testing.T, conf string) *machine {
	t.Helper()
	needNamespaces(t, "--user", "--mount", "--pid", "--fork")
	m := bootMachine(t, conf)
	m.preparePod()
	m.sh(0, `systemctl start sssd`)
	return m
}

// preparePod makes the directory of the identity socket, and what a pod has for
// its krb5.conf.
func (m *machine) preparePod() {
	m.t.Helper()
	m.sh(0, `mkdir -m 700 /run/pods; mkdir -m 755 /run/pods/web
		sed 's|\[libdefaults\]|&\nkcm_socket = /srv/kcm/kcm|' /etc/krb5.conf >/run/container.conf; chmod 644 /run/container.conf`)
}

// podOf is a script that runs another one in a pod of the machine.
func podOf(script string) string {
	return `export CONTAINER=/run/container.conf TOP=/run` + inPod + `pod /run/pods/web --map-user=1000 '` + strings.ReplaceAll(script, `'`, `'\''`) + `'`
}

// TestUnderSystemdAPodNoticesNoRestart is the promise of the main socket for
// identity sockets, which systemd holds then.
func TestUnderSystemdAPodNoticesNoRestart(t *testing.T) {
	t.Parallel()
	conf := identityConf(machineSocket)
	m := bootWithPod(t, conf)
	expect(t, m.sh(0, `systemctl is-active sssd-kcm-web.socket; stat -c '%u %a %F' `+machineSocket), "active\n20001 666 socket")
	out := m.sh(0, podOf(kinit+`; kvno host/server.example.test; klist; ! klist -c KCM:0; ! kinit -c KCM:0:x alice 2>&1`))
	expect(t, out, "Ticket cache: KCM:20001", "host/server.example.test@EXAMPLE.TEST")
	if verified, err := m.try(0, `systemd-analyze verify --man=no sssd-kcm-web.socket 2>&1`); err != nil || verified != "" {
		t.Errorf("systemd-analyze verify: %s%v", verified, err)
	}
	more := "[kcm/socket db]\npath = /run/pods/db/kcm\nuser = 20002\n"
	scripts := []string{podOf(`klist >/dev/null; klist -s`), `setpriv --reuid 20001 --regid 20001 --clear-groups klist -s`}
	m.clients(0, scripts, func() {
		for i := range 3 {
			m.write("/etc/sssd/sssd.conf", conf+fmt.Sprintf("[secrets]\nfd_limit = %d\n", 1000+i)) // kcm goes on
			m.sh(0, `systemctl restart sssd`)
			m.write("/etc/sssd/sssd.conf", fmt.Sprintf("%s[sssd]\n[kcm]\nfd_limit = %d\n", conf, 1000+i))
			m.sh(0, `systemctl restart sssd`)
			m.sh(0, `systemctl restart sssd-kcm`)
			m.write("/etc/sssd/sssd.conf", conf+more) // a socket more, which kcm has to be started with
			m.sh(0, `systemctl restart sssd; systemctl is-active sssd-kcm-db.socket`)
			expect(t, m.sh(0, `stat -c '%u %a' /run/pods/db/kcm /run/pods/db`), "20002 600\n0 700") // the directory was missing
		}
	})
	// A socket that is not configured any more is gone, and its unit.
	m.write("/etc/sssd/sssd.conf", conf)
	m.sh(0, `systemctl restart sssd; test ! -e /run/pods/db/kcm; test ! -e /run/systemd/system/sssd-kcm-db.socket`)
	m.sh(0, `systemctl stop sssd`)
	m.sh(0, podOf(`klist -s`))
	// Another user.
	m.write("/etc/sssd/sssd.conf", strings.Replace(conf, "user = 20001", "user = 20002", 1))
	m.sh(0, `systemctl start sssd`)
	expect(t, m.sh(0, `stat -c '%u %a' `+machineSocket), "20002 666")
	m.sh(0, podOf(`! klist -s; `+kinit+`; klist -s`))
	expect(t, m.sh(20002, `klist`), "KCM:20002")
	m.sh(someone, `klist -s`)
}

// TestBesideSSSDAPodHasAnIdentitySocketToo does so in the other form, whose
// monitor has another name.
func TestBesideSSSDAPodHasAnIdentitySocketToo(t *testing.T) {
	t.Parallel()
	needNamespaces(t, "--user", "--mount", "--pid", "--fork")
	m := bootForm(t, "beside", identityConf(machineSocket))
	m.preparePod()
	m.sh(0, `systemctl start gosssd sssd-kcm.socket`)
	expect(t, m.sh(0, podOf(kinit+`; kvno host/server.example.test; klist; ! klist -c KCM:0`)), "Ticket cache: KCM:20001", "host/server.example.test@EXAMPLE.TEST")
	m.sh(0, `systemctl restart gosssd`)
	m.sh(0, podOf(`klist -s`))
	m.sh(0, `systemctl stop gosssd sssd-kcm.service`)
	m.sh(0, podOf(`klist -s`)) // systemd has the socket, and starts kcm
	m.sh(someone, `klist -s`)
}

// TestUnderSystemdIdentitySocketsWaitForCachesInMemory has a socket added while
// stopping the responder would lose caches.
func TestUnderSystemdIdentitySocketsWaitForCachesInMemory(t *testing.T) {
	t.Parallel()
	m := bootWithPod(t, "[kcm]\nccache_storage = memory\n")
	m.sh(someone, kinit)
	m.eventually(`sssctl status`, "kcm      running")
	m.write("/etc/sssd/sssd.conf", "[sssd]\n"+identityConf(machineSocket)+"[kcm]\nccache_storage = memory\n")
	m.sh(0, `systemctl restart sssd`)
	m.sh(someone, `klist -s`)
	m.sh(0, `test ! -e `+machineSocket)
	expect(t, m.sh(0, `cat /var/log/sssd/sssd.log`), "identity sockets stay as they are")
	m.sh(0, `systemctl stop sssd-kcm; systemctl restart sssd`)
	m.sh(0, podOf(kinit+`; klist -s`))
}

// TestUnderSystemdTheMonitorMayHoldIdentitySockets has it do so with a mode that
// is the user's alone, though its unit lets it give nothing away.
func TestUnderSystemdTheMonitorMayHoldIdentitySockets(t *testing.T) {
	t.Parallel()
	conf := strings.Replace(identityConf(machineSocket), "mode = 0666", "mode = 0600", 1)
	m := bootWithPod(t, "[sssd]\nsocket_activation = monitor\n"+conf)
	m.sh(0, `systemctl stop sssd; systemctl mask --now sssd-kcm.socket sssd-secrets.socket; systemctl start sssd; chmod 711 /run/pods`)
	client := func(u user) string {
		out, _ := m.try(u, `export KRB5_CONFIG=/tmp/$$.conf
			sed s,/srv/kcm,/run/pods/web, /run/container.conf >"$KRB5_CONFIG"; `+kinit+`; klist`)
		return out
	}
	expect(t, client(alice), "Ticket cache: KCM:20001")
	expect(t, client(pod), "Permission denied")
	m.sh(0, `sssctl restart`)
	expect(t, client(alice), "Ticket cache: KCM:20001")
	before := m.property("sssd.service", "MainPID")
	m.sh(0, `systemctl kill --kill-who=main -s KILL sssd`)
	m.eventually(`systemctl show --value -p MainPID sssd.service | grep -vx -e 0 -e `+before+` && systemctl is-active sssd`, "active")
	expect(t, client(alice), "Ticket cache: KCM:20001") // the next sssd has a new socket, in the same directory
}
