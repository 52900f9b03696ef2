package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// debian is a Debian of its own, made by debootstrap, that systemd has booted,
// with a KDC and with users whose klist never stops.
type debian struct {
	*machine
	format string // of packages for it
	users  int    // that logsIn has made
}

// debians are the releases that tests/setup.sh debian makes.
var debians = map[string]string{"bookworm": "deb12", "trixie": "deb13"}

// loopUsers have tickets and run klist all the time.
var loopUsers = []user{1001, 1002, 1003}

// onDebians runs a test on every release whose tree is there.
func onDebians(t *testing.T, test func(d *debian)) {
	needRoot(t)
	if os.Getenv("GOSSSD_PACKAGES") == "" {
		skip(t, "make test-packages runs it: it takes minutes")
	}
	for suite, format := range debians {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			test(bootDebian(t, suite, format))
		})
	}
}

// bootDebian boots the system with the packages for it in /srv/packages, and
// with what tests/setup.sh has unpacked.
func bootDebian(t *testing.T, suite, format string, unpacked ...string) *debian {
	t.Helper()
	below, err := filepath.Abs("../build/debian-" + suite)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(below); err != nil {
		skip(t, below+" is missing: tests/setup.sh debian makes it")
	}
	r := needRealm(t)
	clients, err := os.ReadFile(filepath.Join(r.made, "krb5.conf"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"etc/krb5.conf": strings.Replace(string(clients), "[libdefaults]\n", "[libdefaults]\n  default_ccache_name = KCM:\n", 1),
		"etc/systemd/system/gosssd-kdc.service": fmt.Sprintf("[Service]\nExecStart=/srv/realm.sh /srv/realm %d\n"+
			"[Install]\nWantedBy=multi-user.target\n", r.port),
		"etc/sssd/sssd.conf": fmt.Sprintf(debianConf, r.port),
		"srv/loop.sh":        klistLoop,
	}
	tree := lay(t, files)
	copied := exec.Command("sh", "-euc", `chmod 755 "$1"; chmod 700 "$1/etc/sssd"; chmod 600 "$1/etc/sssd/sssd.conf"
		mkdir -p "$1/srv/packages" "$1/etc/systemd/system/multi-user.target.wants"
		ln -s ../gosssd-kdc.service "$1/etc/systemd/system/multi-user.target.wants/"
		for unit in getty.target console-getty.service e2scrub_reap.service krb5-kdc.service krb5-admin-server.service; do ln -s /dev/null "$1/etc/systemd/system/$unit"; done
		cp realm.sh "$1/srv/"; cp -a "$2" "$1/srv/realm"; mkdir "$1/srv/packages/before"
		cp ../build/packages/*"$3"_amd64.deb "$1/srv/packages/"; cp ../build/packages/before/*"$3"_amd64.deb "$1/srv/packages/before/"
		cp ../build/packages/*x86_64.rpm "$1/srv/packages/"; cp ../build/packages/before/*x86_64.rpm "$1/srv/packages/before/"`,
		"sh", tree, r.made, format)
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := &machine{t: t}
	cmd := exec.Command("systemd/boot.sh", append([]string{tree}, unpacked...)...)
	cmd.Env = append(os.Environ(), "BOOT_BELOW="+below, "BOOT_TARGET=multi-user.target")
	m.start(cmd)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := m.try(0, `systemctl --failed --no-pager; journalctl --no-pager -n 60; tail -n 20 /var/log/sssd/*.log`)
			t.Log(out)
		}
	})
	m.eventually("systemctl is-system-running", "running")
	return &debian{machine: m, format: format}
}

// debianConf is of a host whose users have their passwords in Kerberos; SSSD's
// own sssd serves all of it but [kcm]. Debian's sockets start nss and pam.
const debianConf = `[sssd]
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

// klistLoop counts what it does in /run/loops, which goes with a reboot.
const klistLoop = `#!/bin/sh
# loop.sh USER: lists the tickets of this user until /run/loops/stop is there.
while [ ! -e /run/loops/stop ]; do
  if out=$(klist 2>&1); then
    echo . >>/run/loops/$1.done
  else
    echo "$(date +%T.%N) uid $1: $out" >>/run/loops/$1.failed
  fi
done
`

// login gives each of the users a ticket.
func (d *debian) login() {
	d.t.Helper()
	for i, u := range loopUsers {
		d.sh(u, fmt.Sprintf("echo secret | kinit u%d", i+1))
	}
}

// tickets is what klist says to all users.
func (d *debian) tickets() string {
	d.t.Helper()
	var all strings.Builder
	for _, u := range loopUsers {
		all.WriteString(d.sh(u, "klist"))
	}
	return all.String()
}

// loops starts the klists.
func (d *debian) loops() {
	d.t.Helper()
	d.sh(0, "rm -rf /run/loops; mkdir -m 1777 /run/loops")
	for _, u := range loopUsers {
		d.sh(0, fmt.Sprintf("systemd-run --quiet --unit=loop-%[1]d setpriv --reuid %[1]d --regid %[1]d --clear-groups sh /srv/loop.sh %[1]d", u))
	}
	d.listsOn()
}

// listsOn waits until every loop has listed some more, and fails the test if
// any klist failed.
func (d *debian) listsOn() {
	d.t.Helper()
	for _, u := range loopUsers {
		d.sh(0, fmt.Sprintf(`n=$(cat /run/loops/%[1]d.done 2>/dev/null | wc -l)
			for i in $(seq 1200); do
				if [ "$(cat /run/loops/%[1]d.done /run/loops/%[1]d.failed 2>/dev/null | wc -l)" -gt $((n + 10)) ]; then exit 0; fi
				sleep 0.05
			done; echo "loop %[1]d stands still"; exit 1`, u))
	}
	if out := d.sh(0, "cat /run/loops/*.failed 2>/dev/null || :"); out != "" {
		d.t.Errorf("klist failed:\n%.2000s", out)
		d.sh(0, "rm -f /run/loops/*.failed")
	}
}

// listed is how many klists there were.
func (d *debian) listed() string {
	d.t.Helper()
	return strings.TrimSpace(d.sh(0, "cat /run/loops/*.done | wc -l"))
}

// reboots ends the loops and reboots.
func (d *debian) reboots() {
	d.t.Helper()
	d.sh(0, "touch /run/loops/stop; systemctl reboot --force")
	d.boots()
	d.eventually("systemctl is-system-running", "running")
}

// edited edits [kcm], and expects that to be in force after a restart of sssd,
// and not after one of sssd_kcm.
func (d *debian) edited() {
	d.t.Helper()
	another := fmt.Sprintf("setpriv --reuid %[1]d --clear-groups sh -c 'echo secret | kinit -c KCM:%[1]d:another u1 && kdestroy -c KCM:%[1]d:another' 2>&1", loopUsers[0])
	d.sh(0, `sed -i 's/^\[kcm\]/[kcm]\nmax_uid_ccaches = 1/' /etc/sssd/sssd.conf`)
	d.sh(0, "systemctl restart sssd-kcm")
	d.sh(0, another)
	d.listsOn()
	d.sh(0, "systemctl restart sssd")
	d.eventually(another+" || :", "uota")
	d.listsOn()
}

// identitySocket configures a socket whose unit the monitor writes.
func (d *debian) identitySocket() {
	d.t.Helper()
	d.sh(0, `printf '\n[kcm/socket box]\npath = /run/box\nuser = 1001\n' >>/etc/sssd/sssd.conf; systemctl restart sssd`)
	d.eventually("systemctl is-active sssd-kcm-box.socket || :", "active")
}

// server says whose program serves the tickets: "gosssd", or "SSSD", which
// links a library that no program of ours does.
func (d *debian) server() string {
	d.t.Helper()
	d.sh(loopUsers[0], "klist") // which starts it, if it does not run
	return strings.TrimSpace(d.sh(0, `pid=$(systemctl show --value -p MainPID sssd-kcm)
		[ "$(readlink /proc/$pid/exe)" = /usr/libexec/sssd/sssd_kcm ]
		if grep -q libtalloc /proc/$pid/maps; then echo SSSD; else echo gosssd; fi`))
}

// isServedBy expects one of the two.
func (d *debian) isServedBy(who string) {
	d.t.Helper()
	if got := d.server(); got != who {
		d.t.Errorf("the tickets are served by %s, not by %s", got, who)
	}
}

// logsIn tells whether SSSD's nss finds a user it was not asked for before, and
// its pam lets that user in by the password of the KDC and by no other. Neither
// answers from nss_sss's cache in memory.
func (d *debian) logsIn() error {
	d.t.Helper()
	d.users++
	name, uid := fmt.Sprint("u", 10+d.users), 20000+d.users
	d.sh(0, fmt.Sprintf(`echo '%[1]s:*:%[2]d:%[2]d::/tmp:/bin/sh' >>/etc/passwd; echo '%[1]s:*:20000::::::' >>/etc/shadow; echo '%[1]s:x:%[2]d:' >>/etc/group`, name, uid))
	if out, err := d.try(0, "getent -s sss passwd "+name); err != nil || !strings.HasPrefix(out, name+":") {
		return fmt.Errorf("getent passwd %s: %w %s", name, err, out)
	}
	if out, err := d.try(someone, "echo wrong | su - "+name+" -c true 2>&1"); err == nil {
		return fmt.Errorf("a wrong password lets %s in: %s", name, out)
	}
	out, err := d.try(someone, "echo secret | su - "+name+" -c klist 2>&1")
	if err != nil || !strings.Contains(out, "Default principal: "+name+"@EXAMPLE.TEST") {
		return fmt.Errorf("su - %s: %w %s", name, err, out)
	}
	d.sh(user(uid), "kdestroy -A")
	return nil
}

// mustLogIn is logsIn for a machine on which that has to work.
func (d *debian) mustLogIn(when string) {
	d.t.Helper()
	if err := d.logsIn(); err != nil {
		d.t.Errorf("%s: %v", when, err)
	}
}

// comeAndGo are files and directories that the system itself writes at any time,
// and SSSD's own sssd.
var comeAndGo = regexp.MustCompile(`^(/var/log/(journal|wtmp|btmp|lastlog|dpkg\.log|alternatives\.log|apt|faillog)` +
	`|/var/lib/(dpkg/(lock|status|triggers|info|updates|available|diversions|statoverride|alternatives)|apt|systemd/(timers|timesync|random-seed|catalog))` +
	`|/var/cache/(apt|ldconfig|debconf|man|apparmor)|/var/tmp/systemd-private-[^/]*|/var/lib/sss/pipes/private/sbus-dp_[^/]*|/run/(systemd|user|loops|lock|log|udev|credentials|shm|initctl|mount|utmp|dbus)` +
	`|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?|/etc/\.pwd\.lock|/etc/machine-id|/etc/ld\.so\.cache)(/|$| |[^/]* )`)

// files are all files of the system with kind, mode, owner, and where a link
// leads; those below /etc with a sum of what is in them.
func (d *debian) files() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	list := d.sh(0, `find /etc /usr /var /run /opt /home /root -xdev -printf '%p\t%y %m %U:%G %l\n'
		find /run/systemd/system /run/systemd/generator* -printf '%p \t%y %m %l\n' 2>/dev/null || :
		find /etc -type f -printf '%p sum\t' -exec sh -c 'cksum <"$1"' sh {} ';' `)
	for line := range strings.Lines(list) {
		name, is, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		if name, isUnit := strings.CutSuffix(name, " "); isUnit || !comeAndGo.MatchString(name+" ") {
			all[name] = is
		}
	}
	return all
}

// differences are what differs between two lists of files.
func differences(before, after map[string]string) (lines []string) {
	for name, is := range after {
		if was, ok := before[name]; !ok {
			lines = append(lines, "there is now "+name+": "+is)
		} else if was != is {
			lines = append(lines, "changed is "+name+": "+was+" before, "+is+" now")
		}
	}
	for name, was := range before {
		if _, ok := after[name]; !ok {
			lines = append(lines, "there is no more "+name+": "+was)
		}
	}
	slices.Sort(lines)
	return lines
}

// unchanged fails the test for every difference.
func (d *debian) unchanged(before map[string]string, when string) {
	d.t.Helper()
	for _, line := range differences(before, d.files()) {
		d.t.Errorf("%s %s", when, line)
	}
}

// TestPackageBesideSSSDOnDebian replaces Debian's sssd-kcm on a host of SSSD
// under load, and brings it back.
func TestPackageBesideSSSDOnDebian(t *testing.T) {
	t.Parallel()
	onDebians(t, func(d *debian) {
		d.sh(0, "systemctl stop sssd")
		if err := d.logsIn(); err == nil {
			d.t.Fatal("users log in without SSSD, so that shows nothing")
		}
		d.sh(0, "systemctl start sssd sssd-nss.socket sssd-pam.socket")
		d.mustLogIn("before the install")
		d.login()
		before := d.tickets()
		d.isServedBy("SSSD")
		files := d.files()
		d.sh(0, "cp -a /etc/sssd/sssd.conf /srv/sssd.conf")
		sssd := d.property("sssd.service", "MainPID")
		d.loops()

		out := d.sh(0, "dpkg -i /srv/packages/before/gosssd-kcm_*.deb 2>&1")
		expect(d.t, out, fmt.Sprintf("caches imported %d, present already 0", len(loopUsers)))
		d.listsOn()
		d.same(before, "after the install")
		d.isServedBy("gosssd")
		expect(d.t, d.sh(0, "gosssctl status"), "kcm")
		if now := d.property("sssd.service", "MainPID"); now != sssd {
			d.t.Errorf("sssd was process %s and is %s", sssd, now)
		}
		if out, err := d.try(0, "dpkg -V $(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' '*sss*' | sed -n 's/^ii *//p'); dpkg --audit; apt-get check -qq"); err != nil || out != "" {
			d.t.Errorf("packages are not as they were: %v\n%s", err, out)
		}
		d.mustLogIn("after the install")
		d.sh(0, "apparmor_parser -QKT /etc/apparmor.d/gosssd-kcm 2>&1")

		d.edited()
		d.mustLogIn("after the restart of sssd")
		d.identitySocket()
		d.t.Log("klists without a failure: ", d.listed())

		d.reboots()
		d.same(before, "after the reboot")
		d.isServedBy("gosssd")
		d.mustLogIn("after the reboot")
		d.loops()
		d.sh(0, "dpkg -i /srv/packages/gosssd-kcm_*.deb 2>&1")
		d.listsOn()
		expect(d.t, d.sh(0, "gosssctl --version"), "0.1.0")
		d.t.Log("klists without a failure over the upgrade: ", d.listed())
		d.sh(0, "touch /run/loops/stop")

		d.t.Log(d.sh(0, "cd /tmp; DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-download sssd-kcm gosssd-kcm- 2>&1"))
		d.works()
		d.sh(0, "dpkg --remove sssd-kcm 2>&1; dpkg -i /srv/packages/gosssd-kcm_*.deb 2>&1")
		d.login()
		d.isServedBy("gosssd")
		d.sh(0, "dpkg --remove gosssd-kcm 2>&1; dpkg -i /var/cache/apt/archives/sssd-kcm_*.deb 2>&1")
		d.works()
		d.sh(0, "dpkg --purge gosssd-kcm 2>&1; dpkg -V sssd-kcm sssd-common; cp -a /srv/sssd.conf /etc/sssd/; systemctl restart sssd")
		d.works()
		d.unchanged(files, "after the purge")
	})
}

// same expects the tickets that there were.
func (d *debian) same(before, when string) {
	d.t.Helper()
	if after := d.tickets(); after != before {
		d.t.Errorf("the tickets before\n%s\nand %s\n%s", before, when, after)
	}
}

// works expects Debian's sssd-kcm to keep tickets again.
func (d *debian) works() {
	d.t.Helper()
	if owner := d.sh(0, "dpkg -S /usr/libexec/sssd/sssd_kcm"); owner != "sssd-kcm: /usr/libexec/sssd/sssd_kcm\n" {
		d.t.Errorf("sssd_kcm is of %s", owner)
	}
	d.login()
	d.tickets()
	d.isServedBy("SSSD")
	d.mustLogIn("with Debian's sssd-kcm")
}

// TestPackageOfTheWholeOnDebian has the product alone on a machine: SSSD was
// here, and goes for good while ours serves.
func TestPackageOfTheWholeOnDebian(t *testing.T) {
	t.Parallel()
	onDebians(t, func(d *debian) {
		// SSSD's conffiles still are there.
		d.sh(0, `dpkg --remove $(dpkg-query -W -f '${Package}\n' 'sssd*') 2>&1; rm -rf /var/lib/sss/db/* /var/lib/sss/mc /var/lib/sss/pubconf`)
		configure := func() { d.write("/etc/sssd/sssd.conf", "[sssd]\n\n[kcm]\ndebug_level = 6\n") }
		configure()
		d.t.Log(d.sh(0, "dpkg -i /srv/packages/before/gosssd_*.deb 2>&1"))
		d.login()
		before := d.tickets()
		d.isServedBy("gosssd")
		d.loops()
		d.sh(0, "logrotate -d /etc/logrotate.conf 2>&1 | { ! grep -i error; }; dpkg -S /etc/apparmor.d/usr.sbin.sssd | grep gosssd; grep -q 'profile gosssd' /etc/apparmor.d/usr.sbin.sssd; apparmor_parser -QKT /etc/apparmor.d/usr.sbin.sssd 2>&1")
		d.sh(0, `dpkg --purge $(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'sssd*' | sed -n 's/^rc *//p') 2>&1`)
		configure() // which that purge removes, and /var/log/sssd
		d.listsOn()

		d.t.Log(d.sh(0, "dpkg -i /srv/packages/gosssd_*.deb 2>&1"))
		d.listsOn()
		expect(d.t, d.sh(0, "sssctl --version; dpkg -V gosssd; sssctl status"), "0.1.0", "kcm", "secrets")
		d.edited()
		d.identitySocket()
		d.t.Log("klists without a failure: ", d.listed())
		d.reboots()
		d.same(before, "after the reboot")
		d.isServedBy("gosssd")

		d.sh(0, "dpkg --remove gosssd 2>&1")
		for _, gone := range []string{"dpkg -S /usr/sbin/sssd", "systemctl is-active sssd", "systemctl is-active sssd-kcm.socket", "systemctl is-active sssd-secrets.socket"} {
			if out, err := d.try(0, gone); err == nil {
				d.t.Errorf("the package is removed, and %s says %s", gone, out)
			}
		}
		d.sh(0, "dpkg --purge gosssd 2>&1; rm /etc/sssd/sssd.conf; rmdir /etc/sssd")
		d.nothingOfSSSD()

		// Once more from nothing, where what is left of SSSD hides nothing.
		files := d.files()
		configure()
		d.sh(0, "dpkg -i /srv/packages/gosssd_*.deb 2>&1")
		d.login()
		d.loops()
		d.edited()
		d.identitySocket()
		d.sh(0, "touch /run/loops/stop; dpkg --purge gosssd 2>&1; rm /etc/sssd/sssd.conf; rmdir /etc/sssd")
		d.unchanged(files, "after the purge")
	})
}

// nothingOfSSSD expects no file of a name or a place of SSSD's or ours, but for
// the sockets that SSSD's packages leave, and their libraries of other names.
func (d *debian) nothingOfSSSD() {
	d.t.Helper()
	if out := d.sh(0, `find /etc /usr/sbin /usr/libexec /var /run -xdev \( -path '*sss[dc]*' -o -path '/var/lib/sss/*' -o -name '*kcm*' -o -name '*.mkey' -o -path '*secrets.*' \) \
		! -path '/var/lib/sss/pipes*' ! -path '/var/lib/dpkg/*' ! -path '/var/cache/apt/*' ! -path '/var/lib/apt/*' ! -path '/run/systemd/*' ! -path '/var/log/*' ! -name '*gosssd-kdc*' ! -path '/var/tmp/*'`); out != "" {
		d.t.Errorf("after the purge there is still\n%s", out)
	}
}

// TestPackagesOfRPMComeAndGo has Debian's rpm install, upgrade and remove them,
// with their scripts and a real systemd. No package of SSSD's is replaced by
// that, since this rpm's database has none.
func TestPackagesOfRPMComeAndGo(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for _, name := range []string{"gosssd", "gosssd-kcm"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needPackages(t, name+"-*.x86_64.rpm")
			d := bootDebian(t, "bookworm", "deb12", needUnpackedTree(t, "rpm"))
			d.sh(0, `dpkg --purge sssd-kcm 2>&1; rm -rf /var/lib/sss/secrets/* /run/.heim_org.h5l.kcm-socket; ldconfig; mkdir -p /var/lib/rpm
				if [ `+name+` = gosssd ]; then
					dpkg --purge $(dpkg-query -W -f '${Package}\n' 'sssd*') 2>&1
					mkdir -m 711 /etc/sssd; printf '[sssd]\n\n[kcm]\ndebug_level = 6\n' >/etc/sssd/sssd.conf; chmod 600 /etc/sssd/sssd.conf
				fi`)
			files := d.files()
			rpm := "rpm --force-debian --nodeps --nosignature "
			d.sh(0, rpm+"-i /srv/packages/before/"+name+"-0*.rpm 2>&1")
			d.login()
			before := d.tickets()
			d.isServedBy("gosssd")
			d.loops()
			d.sh(0, rpm+"-U /srv/packages/"+name+"-0*.rpm 2>&1")
			d.listsOn()
			d.same(before, "after the upgrade")
			expect(t, d.sh(0, "rpm -q "+name+"; /usr/libexec/sssd/sssd_kcm --version"), name+"-0.1.0-1", "0.1.0")
			if out, err := d.try(0, "rpm -V --nodeps "+name); err != nil || out != "" {
				t.Errorf("rpm -V: %v\n%s", err, out)
			}
			d.t.Log("klists without a failure over the upgrade: ", d.listed())
			d.sh(0, "touch /run/loops/stop; "+rpm+"-e "+name+" 2>&1")
			for _, line := range differences(files, d.files()) {
				// Tickets and logs outlive the removal of an rpm. Directories of the shells and of libkrb5 are theirs.
				if !strings.Contains(line, "/var/lib/sss/") && !strings.Contains(line, "/var/log/sssd") && !strings.Contains(line, "/var/lib/rpm") &&
					!strings.Contains(line, "/usr/share/fish") && !strings.Contains(line, "/etc/krb5.conf.d:") && !strings.Contains(line, "/usr/share/zsh") {
					t.Errorf("after the removal %s", line)
				}
			}
		})
	}
}
