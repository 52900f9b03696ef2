package tests

import (
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// sessionsConf has caches end with sessions, and says so in the log.
const sessionsConf = "[kcm]\ndebug_level = 6\nsession_caches = %s\n"

// carl is a user of a machine who has no password.
const carl user = 20009

// bootWithLogind boots a machine with systemd-logind, on which root opens login
// sessions of carl by su, as a login program would.
func bootWithLogind(t *testing.T, conf string) *machine {
	t.Helper()
	needRoot(t)
	needUnpacked(t, "logind", "libpam-systemd", "25")
	m := bootForm(t, "whole", conf, "logind")
	m.sh(0, `echo 'carl:*:20009:20009::/tmp:/bin/sh' >> /etc/passwd
		echo 'carl:*:20000::::::' >> /etc/shadow
		echo 'carl:x:20009:' >> /etc/group
		for kind in auth account session; do echo "$kind required pam_permit.so"; done > /etc/pam.d/su
		echo 'session required pam_systemd.so' >> /etc/pam.d/su
		systemctl start dbus systemd-logind sssd sssd-kcm.socket`)
	return m
}

// session opens a login session of carl that runs a script, and leaves it open
// until the file /tmp/NAME.end is there. It returns when the script is done.
func (m *machine) session(name, script string) {
	m.t.Helper()
	m.sh(0, fmt.Sprintf(`rm -f /tmp/%[1]s.*
		cat > /tmp/%[1]s.sh <<'END'
{ %[2]s; } > /tmp/%[1]s.out 2>&1
touch /tmp/%[1]s.done
until [ -e /tmp/%[1]s.end ]; do sleep 0.02; done
END
		chmod 755 /tmp/%[1]s.sh
		systemd-run -q --unit login-%[1]s su - carl -c 'sh -eu /tmp/%[1]s.sh'`, name, script))
	m.eventually(fmt.Sprintf(`ls /tmp/%s.done 2>/dev/null || cat /tmp/%[1]s.out`, name), ".done")
}

// endSession ends it, and returns when logind knows no more of it.
func (m *machine) endSession(name string) {
	m.t.Helper()
	id := strings.TrimSpace(m.sh(0, `cat /tmp/`+name+`.id`))
	m.sh(0, `touch /tmp/`+name+`.end`)
	m.eventually(`loginctl show-session `+id+` 2>&1 || :`, "No session")
}

// enter has a session make a cache of one more principal, whose name kcm makes
// up. Its number and the name go to files.
func enter(name, principal string) string {
	return `echo $XDG_SESSION_ID > /tmp/` + name + `.id; echo secret | kinit ` + principal +
		`; klist | sed -n "s/^Ticket cache: //p" > /tmp/` + name + `.cache`
}

// cacheOf returns the name of the cache that a session has made.
func (m *machine) cacheOf(session string) string {
	m.t.Helper()
	return strings.TrimSpace(m.sh(0, `cat /tmp/`+session+`.cache`))
}

// left waits until carl has these caches.
func (m *machine) left(caches ...string) {
	m.t.Helper()
	slices.Sort(caches)
	m.eventually(`echo : $(setpriv --reuid 20009 --clear-groups sh -c "klist -l | grep -o KCM:.*" | sort) .`,
		strings.Join(slices.Concat([]string{":"}, caches, []string{"."}), " "))
}

func TestASessionsEndRemovesItsCacheAndNoOther(t *testing.T) {
	t.Parallel()
	m := bootWithLogind(t, fmt.Sprintf(sessionsConf, "yes"))
	m.sh(carl, kinit+`; echo secret | kinit -c KCM:20009:mine alice`)
	m.session("one", enter("one", "bob"))
	m.session("two", enter("two", "carol"))
	one, two := m.cacheOf("one"), m.cacheOf("two")
	m.left("KCM:20009", "KCM:20009:mine", one, two)
	m.endSession("one")
	m.left("KCM:20009", "KCM:20009:mine", two)

	// A new logind makes no difference, nor a kcm that did not see the end.
	m.sh(0, `systemctl restart systemd-logind; systemctl stop sssd-kcm`)
	m.endSession("two")
	m.left("KCM:20009", "KCM:20009:mine")
	if out := m.sh(0, `sssctl config-check`); strings.Contains(out, "session_caches") {
		t.Errorf("config-check is wrong: %s", out)
	}
	log := m.sh(0, `cat /var/log/sssd/sssd_kcm.log`)
	if strings.Count(log, " is over\"") != 2 {
		t.Errorf("not one line for each end:\n%s", log)
	}
	expect(t, log, "caches=1 credentials=0 principals=bob@EXAMPLE.TEST", "caches=1 credentials=0 principals=carol@EXAMPLE.TEST")
}

func TestTheLastSessionsEndRemovesTheDefaultCache(t *testing.T) {
	t.Parallel()
	m := bootWithLogind(t, fmt.Sprintf(sessionsConf, "default"))
	m.sh(0, `mkdir -p /etc/systemd/logind.conf.d; printf '[Login]\nUserStopDelaySec=0\n' > /etc/systemd/logind.conf.d/x.conf
		systemctl restart systemd-logind`)
	m.sh(carl, kinit+`; echo secret | kinit -c KCM:20009:mine alice`)
	m.sh(someone, kinit)
	for _, name := range []string{"one", "two"} {
		m.session(name, `echo $XDG_SESSION_ID > /tmp/`+name+`.id; klist -A`)
	}
	m.endSession("one")
	m.left("KCM:20009", "KCM:20009:mine")
	m.endSession("two")
	m.left("KCM:20009:mine")
	expect(t, m.sh(someone, `klist`), "alice@EXAMPLE.TEST")
}

// An sshd stores the tickets that are delegated to it before PAM opens the
// session, and in the process that is then put into that.
func TestACacheThatSshdMadeEndsWithTheSessionThatSshdEnters(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile(compile(t, "login.c"))
	if err != nil {
		t.Fatal(err)
	}
	m := bootWithLogind(t, fmt.Sprintf(sessionsConf, "yes"))
	m.sh(0, "base64 -d > /srv/login <<END\n"+base64.StdEncoding.EncodeToString(program)+"\nEND\n"+`chmod 755 /srv/login
		echo secret | kinit -c FILE:/tmp/delegated alice
		mkfifo /tmp/end
		systemd-run -q --unit sshd-of-carl sh -c '(exec /srv/login 20009 nsicw FILE:/tmp/delegated < /tmp/end > /tmp/cache)'
		exec 3> /tmp/end # or its opening for reading would wait
		until [ -s /tmp/cache ]; do sleep 0.02; done
		busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager CreateSession \
			'uusssssussbssa(sv)' 20009 $(pgrep -f '^/srv/login') sshd tty user '' '' 0 '' '' false '' '' 0 > /tmp/session
		until grep -q 'its maker has entered: uid=20009' /var/log/sssd/sssd_kcm.log; do sleep 0.02; done`)
	m.left()
}

func TestSessionCachesSayThatThereIsNoLogind(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, fmt.Sprintf(sessionsConf, "yes"))
	m.sh(0, `systemctl start sssd sssd-kcm.socket`)
	const says = "systemd-logind does not run"
	expect(t, m.sh(0, `sssctl config-check`), says)
	expect(t, m.sh(0, `cat /var/log/sssd/sssd.log`), says)
	expect(t, m.sh(carl, kinit+`; echo secret | kinit bob; klist -l`), "alice@EXAMPLE.TEST", "bob@EXAMPLE.TEST")
}
