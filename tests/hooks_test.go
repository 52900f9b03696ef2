package tests

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// hookScript notes what it is told, in a file of its user's, and whether the
// cache can be used.
const hookScript = `#!/bin/sh
usable=no; klist -s && usable=yes
echo "$GOSSSD_EVENT $GOSSSD_UID=$(id -u) groups=$(id -G | tr ' ' ,) $GOSSSD_PRINCIPAL $KRB5CCNAME usable=$usable expires=$((GOSSSD_EXPIRES > 1000000000)) home=$HOME $(grep -o 'NoNewPrivs:.*' /proc/self/status | tr -d '\t')" >> OUT/$(id -u)
`

// newHooked is a system whose hook is a script, and the directory that it
// writes to.
func newHooked(t *testing.T, conf, script string) (s *system, out string) {
	t.Helper()
	needRealm(t)
	if os.Getenv("CONFINED") != "" && os.Getuid() == 0 {
		skip(t, "under the units' confinement systemd starts hooks, which runs none below a root")
	}
	s = newSystem(t, "")
	program, out := s.path("/hook"), s.path("/told")
	s.configure(conf + "ticket_hook = " + program + "\n")
	krb5Conf, err := os.ReadFile(s.path("/krb5.conf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write("/etc/krb5.conf", string(krb5Conf), 0o644)
	script = strings.NewReplacer("OUT", out, "#!/bin/sh\n", "#!/bin/sh\nexport KRB5_CONFIG="+s.path("/krb5.conf")+"\n").Replace(script)
	s.write("/hook", script, 0o755)
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	return s.start(), out
}

// awaitLines waits until a file has lines that match, in this order, and
// returns all of it.
func awaitLines(t *testing.T, file string, want ...string) string {
	t.Helper()
	matches := regexp.MustCompile("(?sm)" + strings.Join(want, ".*"))
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(file)
		if err == nil && matches.Match(text) {
			return string(text)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not\n%s\nbut (%v)\n%s", file, strings.Join(want, "\n"), err, text)
		}
	}
}

// hookUsers are those whose events start hooks by default.
func hookUsers() (users []user) {
	for _, u := range everybody() {
		if u != 0 {
			users = append(users, u)
		}
	}
	return users
}

func TestAHookRunsAsTheUserOnEachEvent(t *testing.T) {
	t.Parallel()
	s, out := newHooked(t, renewing("secrets"), hookScript)
	if os.Getuid() == 0 {
		s.sh(0, `echo secret | kinit -l 6s u1; kdestroy`) // starts nothing
	}
	for i, u := range hookUsers() {
		file, me := fmt.Sprintf("%s/%d", out, u), fmt.Sprintf(`%d=%d groups=[0-9,]+`, u, u)
		one, two := fmt.Sprintf("u%d@EXAMPLE.TEST", 2*i+1), fmt.Sprintf("u%d@EXAMPLE.TEST", 2*i+2)
		s.sh(u, fmt.Sprintf(`echo secret | kinit -l 4s -r 1h u%d`, 2*i+1))
		awaitLines(t, file, `^created `+me+` `+one+` KCM:\S+ usable=yes expires=1 home=\S* NoNewPrivs:1$`, `^renewed `+me+` `+one+` KCM:\S+ usable=yes expires=1`)
		s.sh(u, fmt.Sprintf(`echo secret | kinit -l 6s u%d`, 2*i+2))
		awaitLines(t, file, `^created `+me+` `+two, `^expiring `+me+` `+two+` KCM:\S+ usable=yes`)
		s.sh(u, `kdestroy -A`)
		told := awaitLines(t, file, `^destroyed `+me+` \S+ KCM:\S+ usable=no`, `^destroyed`)
		if strings.Count(told, "created") != 2 || strings.Contains(told, "expiring "+fmt.Sprint(u)+"="+fmt.Sprint(u)+" groups="+one) {
			t.Errorf("uid %d is told\n%s", u, told)
		}
		if os.Getuid() == 0 && strings.Contains(told, "groups=0") {
			t.Errorf("a hook has root's group:\n%s", told)
		}
	}
	if _, err := os.Stat(out + "/0"); err == nil && os.Getuid() == 0 {
		t.Error("a hook was run as root")
	}
}

func TestRootsHookRunsOnlyWhereTheOptionSaysSo(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s, out := newHooked(t, kept("secrets", "ticket_hook_root = true"), hookScript)
	s.sh(0, `echo secret | kinit alice`)
	awaitLines(t, out+"/0", `^created 0=0 groups=0\S* alice@EXAMPLE.TEST`)
	// Root works in a user's cache: that is the user's event.
	s.sh(0, `echo secret | kinit -c KCM:20001:root bob; kdestroy -c KCM:20001:root`)
	awaitLines(t, out+"/20001", `^created 20001=20001 groups=65534 bob@EXAMPLE.TEST KCM:20001:root`)
	if told, _ := os.ReadFile(out + "/0"); strings.Contains(string(told), "20001") {
		t.Errorf("a user's hook has run as root:\n%s", told)
	}
}

func TestAHookThatHangsOrFailsHarmsNobody(t *testing.T) {
	t.Parallel()
	u := somebody()
	s, out := newHooked(t, kept("secrets", "ticket_hook_timeout = 2s"), `#!/bin/sh
case $GOSSSD_PRINCIPAL in
alice@*) echo $$ >> OUT/hangs; exec sleep 1000 ;;
bob@*) echo 'no such cell' >&2; exit 7 ;;
*) [ $GOSSSD_EVENT = destroyed ] || kvno host/server.example.test # over the network
	echo "$? $GOSSSD_EVENT $GOSSSD_PRINCIPAL" >> OUT/good ;;
esac
`)
	s.sh(u, `echo secret | kinit alice; echo secret | kinit bob; echo secret | kinit u1; klist`)
	awaitLines(t, out+"/good", `^0 created u1@EXAMPLE.TEST`)
	s.sh(u, `kdestroy`)
	awaitLines(t, out+"/good", `^0 destroyed u1@EXAMPLE.TEST`)
	s.awaitLog("sssd_kcm", "took too long, and was killed")
	log := s.log("sssd_kcm")
	expect(t, log, "a ticket hook has failed", "exit status 7", "no such cell")
	s.awaitStatus(0, "Ticket hooks: 2 run, 2 failed, 0 left out, 0 waiting\n")
	hung, err := os.ReadFile(out + "/hangs")
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(hung)) {
		if command, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && strings.HasPrefix(string(command), "sleep\x001000") {
			t.Errorf("process %s goes on", pid)
		}
	}
}

// TestManyCachesStartFewHooks makes and destroys caches as fast as it goes,
// with a hook that takes its time.
func TestManyCachesStartFewHooks(t *testing.T) {
	t.Parallel()
	u := somebody()
	s, out := newHooked(t, kept("secrets"), `#!/bin/sh
exec 9>>OUT/lock
flock -n 9 || echo "two at a time" >> OUT/told
echo "$GOSSSD_EVENT" >> OUT/told
`)
	s.sh(u, `echo secret | kinit alice; klist -s`)
	s.sh(u, `n=0; while [ $n -lt 150 ]; do echo secret | kinit -c KCM:$(id -u):$((n % 5)) alice >/dev/null; n=$((n+1)); done`)
	told := awaitLines(t, out+"/told", `created`)
	if n := strings.Count(told, "\n"); n > 60 || strings.Contains(told, "two") {
		t.Errorf("%d hooks were started:\n%s", n, told)
	}
}

func TestAHookThatCannotBeStartedIsRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "")
	s.write("/hook", "#!/bin/sh\n", 0o755)
	s.write("/data", "", 0o644)
	for value, want := range map[string]string{
		s.path("/none"):         "cannot be started: no such file or directory",
		s.path("/data"):         "is no program",
		s.path("/hook") + " -x": "cannot be started",
		"aklog":                 "neither the absolute path",
		"hook.service":          "neither the absolute path",
	} {
		s.configure(kept("secrets", "ticket_hook = "+value))
		out := s.shFails(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" config-check`)
		expect(t, out, "[kcm] ticket_hook", want)
	}
	if err := os.Chmod(s.path("/hook"), 0o777); err != nil {
		t.Fatal(err)
	}
	s.configure(kept("secrets", "ticket_hook = "+s.path("/hook")))
	expect(t, s.shFails(user(os.Getuid()), `"$BIN"/sssctl --root "$ROOT" config-check`), "may be written to by others")
}

// manualHook returns a block of the manual that has a line.
func manualHook(t *testing.T, line string) string {
	t.Helper()
	for _, found := range examples.FindAllStringSubmatch(page(t, "sssd-kcm.8"), -1) {
		if example := strings.ReplaceAll(found[1], `\e`, `\`); strings.Contains(example, line) {
			return example + "\n"
		}
	}
	t.Fatalf("the manual has no example with %q", line)
	return ""
}

// bootHooked boots a machine with a hook, and a user with a group besides his own.
func bootHooked(t *testing.T, conf string) *machine {
	m := bootMachine(t, conf)
	m.sh(0, `echo 'hooked:x:20001:20001::/home/hooked:/bin/sh' >> /etc/passwd
		printf 'hooked:x:20001:\nafs:x:20077:hooked\n' >> /etc/group
		mkdir -p /srv/told; chmod 1777 /srv/told; mkdir -p /usr/local/libexec`)
	m.write("/usr/local/libexec/ticket-hook", strings.ReplaceAll(hookScript, "OUT", "/srv/told"))
	m.sh(0, `chmod 755 /usr/local /usr/local/libexec /usr/local/libexec/ticket-hook`)
	return m
}

// underSystemd goes through the events of a ticket under the confined units.
func underSystemd(t *testing.T, m *machine) {
	t.Helper()
	m.sh(0, `systemctl start sssd`)
	m.sh(0, `echo secret | kinit bob; kdestroy`)
	m.sh(someone, `echo secret | kinit -l 4s -r 1h alice`)
	const me = `20001=20001 groups=20001,20077 alice@EXAMPLE.TEST KCM:20001 `
	for _, event := range []string{"created " + me + "usable=yes expires=1 home=/home/hooked NoNewPrivs:1", "renewed " + me + "usable=yes"} {
		m.eventually(`cat /srv/told/20001`, event)
	}
	m.sh(someone, `kdestroy; echo secret | kinit -l 6s -c KCM:20001:'a "$b`+"`"+` %u c' alice`)
	m.eventually(`cat /srv/told/20001`, "destroyed "+me+"usable=no")
	m.eventually(`cat /srv/told/20001`, `expiring 20001=20001 groups=20001,20077 alice@EXAMPLE.TEST KCM:20001:a "$b`+"`"+` %u c usable=yes`)
	if told := m.sh(0, `ls /srv/told`); told != "20001\n" {
		t.Errorf("hooks have run as %s", told)
	}
	// Nothing is left but, for a moment, the last one.
	m.eventually(`systemctl list-units --all --no-legend 'ticket-hook*' | wc -l`, "0\n")
	m.eventually(`sssctl status`, " run, 0 failed, 0 left out, 0 waiting")
}

func TestSystemdStartsAHook(t *testing.T) {
	t.Parallel()
	m := bootHooked(t, renewing("secrets")+manualHookOption(t, "/usr/local/libexec/ticket-hook")+"ticket_hook_timeout = 3s\n")
	underSystemd(t, m)
	m.sh(0, `printf '#!/bin/sh\ntrap "" TERM\necho $$ > /srv/told/hangs\nsleep 1000\n' > /usr/local/libexec/ticket-hook`)
	m.sh(someone, `kdestroy -A; echo secret | kinit alice`)
	m.eventually(`cat /var/log/sssd/sssd_kcm.log`, "took too long, and was killed")
	m.eventually(`kill -0 $(cat /srv/told/hangs) || echo gone`, "gone") // systemd's answer comes before it
	m.sh(0, `printf '#!/bin/sh\necho no such cell\nexit 7\n' > /usr/local/libexec/ticket-hook`)
	m.sh(someone, `kdestroy -A; echo secret | kinit alice`)
	m.eventually(`cat /var/log/sssd/sssd_kcm.log`, ".service: failed; see journalctl -u ticket-hook-20001-")
	m.eventually(`journalctl --no-pager`, "no such cell")
}

// manualHookOption is the example of the manual that sets the option.
func manualHookOption(t *testing.T, value string) string {
	t.Helper()
	_, option, _ := strings.Cut(manualHook(t, "ticket_hook = "+value), "[kcm]\n")
	return option
}

func TestSystemdStartsAHookFromATemplate(t *testing.T) {
	t.Parallel()
	m := bootHooked(t, renewing("secrets")+manualHookOption(t, "ticket-hook@.service")+"ticket_hook_timeout = 3s\n")
	_, unit, _ := strings.Cut(manualHook(t, "User=%i"), "\n")
	m.write("/etc/systemd/system/ticket-hook@.service", unit)
	m.sh(0, `chmod 644 /etc/systemd/system/ticket-hook@.service; systemctl daemon-reload`)
	underSystemd(t, m)
	expect(t, m.sh(0, `stat -c '%a %U' /run/sssd_kcm/ticket_hook; ls /run/sssd_kcm/ticket_hook | wc -l`), "700 root\n0\n")
	m.sh(0, `sed -i '/^User=/d' /etc/systemd/system/ticket-hook@.service; systemctl daemon-reload`)
	m.sh(someone, `kdestroy -A; echo secret | kinit alice`)
	m.eventually(`cat /var/log/sssd/sssd_kcm.log`, `it would run as the user`)
	for _, command := range []string{"ExecStart=+", "ExecStart=!", "ExecStart=-+", "ExecStartPre=+", "ExecStopPost=!"} {
		m.write("/etc/systemd/system/ticket-hook@.service", strings.Replace(unit, "ExecStart=", command, 1)+"ExecStart=/bin/true\n")
		m.sh(0, `chmod 644 /etc/systemd/system/ticket-hook@.service; systemctl daemon-reload; truncate -s 0 /var/log/sssd/sssd_kcm.log`)
		m.sh(someone, `kdestroy -A; echo secret | kinit alice`)
		name, prefix, _ := strings.Cut(command, "=")
		m.eventually(`cat /var/log/sssd/sssd_kcm.log`, fmt.Sprintf("a command of its %s= would run as root; leave out the '%s' before it", name, prefix[len(prefix)-1:]))
	}
	if told := m.sh(0, `ls /srv/told`); told != "20001\n" {
		t.Errorf("hooks have run as %s", told)
	}
}
