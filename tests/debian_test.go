package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// debian is a Debian of its own, made by debootstrap, that systemd has booted,
// with a KDC and with users whose klist never stops.
type debian struct {
	*machine
	format string // of packages for it
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
		t.Run(suite, func(t *testing.T) { test(bootDebian(t, suite, format)) })
	}
}

// bootDebian boots the system with the packages for it in /srv/packages.
func bootDebian(t *testing.T, suite, format string) *debian {
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
		"etc/sssd/sssd.conf": debianConf,
		"srv/loop.sh":        klistLoop,
	}
	tree := lay(t, files)
	copied := exec.Command("sh", "-euc", `chmod 755 "$1"; chmod 700 "$1/etc/sssd"; chmod 600 "$1/etc/sssd/sssd.conf"
		mkdir -p "$1/srv/packages" "$1/etc/systemd/system/multi-user.target.wants"
		ln -s ../gosssd-kdc.service "$1/etc/systemd/system/multi-user.target.wants/"
		for unit in getty.target console-getty.service e2scrub_reap.service krb5-kdc.service krb5-admin-server.service; do ln -s /dev/null "$1/etc/systemd/system/$unit"; done
		cp realm.sh "$1/srv/"; cp -a "$2" "$1/srv/realm"; mkdir "$1/srv/packages/before"
		cp ../build/packages/*"$3"_amd64.deb "$1/srv/packages/"; cp ../build/packages/before/*"$3"_amd64.deb "$1/srv/packages/before/"`,
		"sh", tree, r.made, format)
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m := &machine{t: t}
	cmd := exec.Command("systemd/boot.sh", tree)
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

const debianConf = `[sssd]
domains = local

[domain/local]
id_provider = proxy
proxy_lib_name = files
proxy_pam_target = login

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
	d.sh(0, `printf '\n[kcm/socket box]\npath = /run/box/kcm\nuser = 1001\n' >>/etc/sssd/sssd.conf; systemctl restart sssd`)
	d.eventually("systemctl is-active sssd-kcm-box.socket || :", "active")
}

// ours are the files that only our packages make.
var ours = regexp.MustCompile(`gosssd|sssd-kcm-box|/kcm\.db|\.kcm\.mkey|/secrets\.db|use-kcm`)

// leftovers are our files that are still there.
func (d *debian) leftovers() []string {
	d.t.Helper()
	var left []string
	for name := range strings.Lines(d.sh(0, "find /etc /usr /var /run -xdev ! -path '/run/systemd/transient/*' ! -path '/run/systemd/inaccessible/*' ! -path '/var/log/*pt/*' ! -path /var/log/dpkg.log ! -path '/var/lib/dpkg/*' ! -path '/var/log/journal/*' ! -name '*gosssd-kdc*' ! -path '/var/tmp/systemd-private-*'")) {
		if ours.MatchString(name) {
			left = append(left, strings.TrimSpace(name))
		}
	}
	return left
}

func TestPackageBesideSSSDOnDebian(t *testing.T) {
	t.Parallel()
	onDebians(t, func(d *debian) {
		d.sh(0, "systemctl start sssd")
		d.login()
		before := d.tickets()
		sssd := d.property("sssd.service", "MainPID")
		d.loops()

		d.t.Log(d.sh(0, "dpkg -i /srv/packages/before/gosssd-kcm_*.deb 2>&1"))
		d.listsOn()
		if after := d.tickets(); after != before {
			d.t.Errorf("the tickets before\n%s\nand after\n%s", before, after)
		}
		expect(d.t, d.sh(0, "readlink /proc/$(systemctl show --value -p MainPID sssd-kcm)/exe; gosssctl status 2>&1 || :"), "sssd_kcm", "kcm")
		if now := d.property("sssd.service", "MainPID"); now != sssd {
			d.t.Errorf("sssd was process %s and is %s", sssd, now)
		}
		if out, err := d.try(0, "dpkg -V sssd-common sssd-krb5-common; dpkg --audit; apt-get check -qq"); err != nil || out != "" {
			d.t.Errorf("packages are not as they were: %v\n%s", err, out)
		}
		expect(d.t, d.sh(0, "getent -s sss passwd nobody || getent passwd nobody"), "nobody")

		d.edited()
		d.identitySocket()
		d.t.Log("klists without a failure: ", d.listed())

		d.reboots()
		if after := d.tickets(); after != before {
			d.t.Errorf("the tickets before\n%s\nand after the reboot\n%s", before, after)
		}
		d.loops()
		d.sh(0, "dpkg -i /srv/packages/gosssd-kcm_*.deb 2>&1")
		d.listsOn()
		d.sh(0, "touch /run/loops/stop")

		d.sh(0, "dpkg --remove gosssd-kcm 2>&1; dpkg -i /var/cache/apt/archives/sssd-kcm_*.deb 2>&1")
		d.login()
		d.tickets()
		expect(d.t, d.sh(0, "readlink /proc/$(systemctl show --value -p MainPID sssd-kcm)/exe; dpkg -S /usr/libexec/sssd/sssd_kcm"), "sssd-kcm:")
		d.t.Log(d.sh(0, "dpkg --purge gosssd-kcm 2>&1; dpkg -V sssd-kcm sssd-common"))
		d.tickets()
		for _, left := range d.leftovers() {
			d.t.Errorf("after the purge there is still %s", left)
		}
		d.sh(0, "test -e /var/lib/sss/secrets/secrets.ldb; test -e /etc/krb5.conf.d/kcm_default_ccache; test -e /etc/systemd/system/sockets.target.wants/sssd-kcm.socket")
	})
}

func TestPackageOfTheWholeOnDebian(t *testing.T) {
	t.Parallel()
	onDebians(t, func(d *debian) {
		// SSSD was here before, and its conffiles still are.
		d.sh(0, `dpkg --remove $(dpkg-query -W -f '${Package}\n' 'sssd*') 2>&1; rm -rf /var/lib/sss/db/* /var/lib/sss/mc /var/lib/sss/pubconf`)
		configure := func() { d.write("/etc/sssd/sssd.conf", "[sssd]\n\n[kcm]\ndebug_level = 6\n") }
		configure()
		d.t.Log(d.sh(0, "dpkg -i /srv/packages/before/gosssd_*.deb 2>&1"))
		d.login()
		before := d.tickets()
		d.loops()
		d.sh(0, "logrotate -d /etc/logrotate.conf 2>&1 | { ! grep -i error; }; dpkg -S /etc/apparmor.d/usr.sbin.sssd | grep gosssd; grep -q 'profile gosssd' /etc/apparmor.d/usr.sbin.sssd")
		d.sh(0, `dpkg --purge $(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' 'sssd*' | sed -n 's/^rc *//p') 2>&1`)
		configure() // which that purge removes, and /var/log/sssd
		d.listsOn()

		d.t.Log(d.sh(0, "sssctl --version; dpkg -i /srv/packages/gosssd_*.deb 2>&1; sssctl --version; readlink /proc/$(systemctl show --value -p MainPID sssd)/exe"))
		d.listsOn()
		expect(d.t, d.sh(0, "dpkg -V gosssd; sssctl status || :"), "kcm", "secrets")
		d.edited()
		d.identitySocket()
		d.t.Log("klists without a failure: ", d.listed())
		d.reboots()
		if after := d.tickets(); after != before {
			d.t.Errorf("the tickets before\n%s\nand after the reboot\n%s", before, after)
		}

		d.sh(0, "dpkg --remove gosssd 2>&1")
		if _, err := d.try(0, "dpkg -S /usr/sbin/sssd || systemctl is-active sssd sssd-kcm.socket"); err == nil {
			d.t.Error("something of the removed package is there")
		}
		d.t.Log(d.sh(0, "dpkg --purge gosssd 2>&1"))
		for _, left := range d.leftovers() {
			d.t.Errorf("after the purge there is still %s", left)
		}
		if out := d.sh(0, "find /var/lib/sss /var/log/sssd /etc -path '*sssd_kcm*' -o -path '*sockets.target.wants/sssd*' -o -name 'config.db*' -o -name '.secrets.mkey' -o -name kcm_default_ccache 2>/dev/null || :"); out != "" {
			d.t.Errorf("after the purge there is still %s", out)
		}
	})
}
