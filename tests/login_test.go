package tests

import (
	"fmt"
	"strings"
	"testing"
)

// loginConf is that of a host whose users are in /etc/passwd and have their
// passwords in Kerberos. SSSD's own sssd serves all of it but [kcm].
const loginConf = `[sssd]
services = nss, pam
domains = example.test
[domain/example.test]
id_provider = proxy
proxy_lib_name = files
auth_provider = krb5
chpass_provider = none
access_provider = permit
krb5_realm = EXAMPLE.TEST
krb5_server = 127.0.0.1:%d
[kcm]
debug_level = 6
`

// newLogins boots a machine with Debian's sssd and gosssd-kcm beside it. su
// asks pam_sss; alice has no other password than that of the KDC.
func newLogins(t *testing.T) *machine {
	t.Helper()
	needRoot(t)
	needUnpacked(t, "login", "sssd-krb5", "2.")
	needUnpacked(t, "login", "libpam-sss", "2.")
	m := bootForm(t, "beside", "", "login")
	m.write("/etc/sssd/sssd.conf", fmt.Sprintf(loginConf, needRealm(t).port))
	m.sh(0, `echo 'alice:*:20007:20007::/tmp:/bin/sh' >> /etc/passwd
		echo 'alice:*:20000::::::' >> /etc/shadow
		echo 'alice:x:20007:' >> /etc/group
		for kind in auth account session; do echo "$kind required pam_sss.so"; done > /etc/pam.d/su
		systemctl start sssd gosssd sssd-kcm.socket
		grep -q talloc /usr/sbin/sssd # so it is SSSD's`)
	return m
}

// login logs alice in by a password and runs a script as her.
func (m *machine) login(password, script string) (string, error) {
	return m.try(someone, fmt.Sprintf(`echo %s | su - alice -c '%s' 2>&1`, password, script))
}

// The krb5_child of SSSD's own sssd stores a user's ticket here when he logs
// in, and SSSD's pam_sss sets KRB5CCNAME.
func TestALoginByPamSssStoresItsTicketHere(t *testing.T) {
	t.Parallel()
	m := newLogins(t)
	out, err := m.login("wrong", "true")
	if err == nil {
		t.Fatalf("a wrong password logs in: %s", out)
	}
	if out, err := m.try(20007, `klist`); err == nil {
		t.Errorf("a wrong password leaves a cache:\n%s", out)
	}

	const look = `echo "KRB5CCNAME=$KRB5CCNAME"; klist; kvno -q host/server.example.test; klist -l`
	out, err = m.login("secret", look)
	if err != nil {
		t.Fatalf("su: %v\n%s", err, out)
	}
	expect(t, out, "KRB5CCNAME=KCM:", "Ticket cache: KCM:20007", "Default principal: alice@EXAMPLE.TEST", "krbtgt/EXAMPLE.TEST@EXAMPLE.TEST")
	log := m.sh(0, `cat /var/log/sssd/sssd_kcm.log`)
	if !strings.Contains(log, "op=STORE uid=20007") || !strings.Contains(log, "program=krb5_child") {
		t.Errorf("krb5_child has stored nothing:\n%s", log)
	}

	// A restart of SSSD's sssd restarts gosssd, and logins go on as before.
	before := m.property("gosssd", "InvocationID")
	m.sh(0, `systemctl restart sssd`)
	m.eventually(`systemctl show --value -p InvocationID gosssd | grep -vx `+before+` && systemctl is-active gosssd`, "active")
	expect(t, m.sh(20007, `klist`), "host/server.example.test@EXAMPLE.TEST")
	out, err = m.login("secret", look)
	if err != nil {
		t.Fatalf("su after the restart: %v\n%s", err, out)
	}
	if n := strings.Count(m.sh(20007, `klist -l`), "alice@EXAMPLE.TEST"); n != 1 {
		t.Errorf("two logins leave alice %d caches, not one:\n%s", n, out)
	}
}
