package tests

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"gosssd/tests/vectors"
)

// mostExposed is what systemd-analyze security may say of a unit: 0 is
// confined as far as can be, 10 is not confined at all.
const mostExposed = 2.0

// exposure reads the score out of the report of systemd-analyze security.
func exposure(t *testing.T, report string) float64 {
	t.Helper()
	found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(report)
	if found == nil {
		t.Fatalf("systemd-analyze security names no score:\n%s", report)
	}
	score, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return score
}

// analyze returns the score of a unit's file.
func analyze(t *testing.T, file string) float64 {
	t.Helper()
	out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=yes", file).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze security %s: %v\n%s", file, err, out)
	}
	return exposure(t, string(out))
}

// installUnits makes what make install makes of the units.
func installUnits(t *testing.T, settings ...string) (dir string) {
	t.Helper()
	dest := t.TempDir()
	args := append([]string{"-C", "..", "install-units", "DESTDIR=" + dest}, settings...)
	if out, err := exec.Command("make", args...).CombinedOutput(); err != nil {
		t.Fatalf("make install-units: %v\n%s", err, out)
	}
	return filepath.Join(dest, "usr/lib/systemd/system")
}

func TestEveryServiceOfEveryFormIsConfined(t *testing.T) {
	t.Parallel()
	needProgram(t, "make", "systemd-analyze")
	for name, settings := range map[string][]string{
		"whole":                             {"FORM=whole"},
		"beside SSSD":                       {"FORM=beside"},
		"whole, where SELinux is enforced":  {"FORM=whole", "NNP=no"},
		"beside, where SELinux is enforced": {"FORM=beside", "NNP=no"},
	} {
		t.Run(name, func(t *testing.T) {
			units, err := filepath.Glob(installUnits(t, settings...) + "/*.service")
			if err != nil || len(units) < 3 {
				t.Fatalf("there are the services %q, %v", units, err)
			}
			for _, unit := range units {
				if score := analyze(t, unit); score > mostExposed {
					t.Errorf("%s has an exposure of %.1f, not at most %.1f", filepath.Base(unit), score, mostExposed)
				}
				if text, err := os.ReadFile(unit); err != nil || regexp.MustCompile(`(?m)^@`).Match(text) {
					t.Errorf("%s has a mark of the Makefile's: %v\n%s", unit, err, text)
				}
			}
		})
	}
	open := filepath.Join(t.TempDir(), "open.service")
	if err := os.WriteFile(open, []byte("[Service]\nExecStart=/bin/true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if score := analyze(t, open); score <= mostExposed {
		t.Errorf("a unit that confines nothing has an exposure of %.1f; the test proves nothing", score)
	}
}

// TestNoNewPrivilegesIsLeftOutForSELinux: with it systemd could not start the
// programs in SELinux's domain of SSSD.
func TestNoNewPrivilegesIsLeftOutForSELinux(t *testing.T) {
	t.Parallel()
	needProgram(t, "make")
	for settings, want := range map[string]bool{"NNP=yes": true, "NNP=no": false} {
		text, err := os.ReadFile(installUnits(t, settings) + "/sssd-kcm.service")
		if err != nil {
			t.Fatal(err)
		}
		if is := regexp.MustCompile(`(?m)^NoNewPrivileges=`).Match(text); is != want {
			t.Errorf("with %s NoNewPrivileges is set: %v", settings, is)
		}
	}
}

// confined makes a unit with the sandbox of another that runs command once.
const confined = `sed -e '/^Type=/c Type=oneshot' -e '/^Restart/d' -e '/^ExecStart=/c ExecStart=%s' \
	-e '/^Requires=/d' -e '/^Also=/d' /usr/lib/systemd/system/sssd-kcm.service > /run/systemd/system/confined.service
	systemctl daemon-reload; systemctl start confined`

// TestUnderTheUnitsTicketsAreRenewed: sssd_kcm reaches KDCs by itself and by
// kinit, and knows the names of its clients' programs.
func TestUnderTheUnitsTicketsAreRenewed(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, renewing("secrets"))
	m.sh(0, `systemctl start sssd`)
	m.sh(someone, `echo secret | kinit -l 4s -r 1h alice`)
	m.eventually(`cat /var/log/sssd/sssd_kcm.log`, "a ticket is renewed")
	expect(t, m.sh(0, `cat /var/log/sssd/sssd_kcm.log`), "program=kinit")

	m.sh(0, `mkdir -m 700 /run/renew; echo secret | kinit -c FILE:/run/renew/ccache -l 1h -r 2h alice; cp /run/renew/ccache /run/renew/old`)
	m.sh(0, fmt.Sprintf(confined, `kinit -R -c FILE:/run/renew/ccache`))
	m.sh(0, `klist -c FILE:/run/renew/ccache; ! cmp -s /run/renew/ccache /run/renew/old`)
}

// TestUnderTheUnitsTheServerAnswersAsTheVectorsSay runs the whole protocol
// against the service, with the storages that write to the disk in turn.
func TestUnderTheUnitsTheServerAnswersAsTheVectorsSay(t *testing.T) {
	t.Parallel()
	cases, err := vectors.All()
	if err != nil {
		t.Fatal(err)
	}
	m := bootMachine(t, "[sssd]\n")
	run, err := os.Open("/proc/" + m.pid + "/root/run") // other users may not go there by this name
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	socket := fmt.Sprintf("/proc/self/fd/%d/.heim_org.h5l.kcm-socket", run.Fd())
	uids := map[string]uint32{"one": 20001, "two": 20002, "root": 0}
	for i, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			conf := kept([]string{"secrets", "secdb"}[i%2])
			for key, value := range c.Config {
				conf += key + " = " + value + "\n"
			}
			m.sh(0, `systemctl stop sssd sssd-kcm.socket sssd-secrets.socket sssd-kcm sssd-secrets 2>/dev/null; rm -rf /var/lib/sss/secrets/*`)
			m.write("/etc/sssd/sssd.conf", conf)
			m.sh(0, `systemctl start sssd`)
			err := c.Run(vectors.Server{
				UIDs: uids, Now: time.Now,
				Dial: func(user string) (net.Conn, error) { return dialAs(uids[user], socket) },
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestUnderTheUnitsUsersReachSocketsInNewDirectories: the units' umask closes
// what is made to users.
func TestUnderTheUnitsUsersReachSocketsInNewDirectories(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\nsocket_activation = monitor\n[kcm]\nsocket_path = /run/caches/new/kcm\n")
	m.sh(0, `rm -rf /var/lib/sss/pipes; sed -i '/^\[libdefaults\]/a\  kcm_socket = /run/caches/new/kcm' /etc/krb5.conf
		systemctl mask --now sssd-kcm.socket sssd-secrets.socket; systemctl start sssd`)
	m.sh(someone, kinit+`; klist`)
	expect(t, m.sh(0, `stat -c '%a %n' /var/lib/sss/pipes /var/lib/sss/pipes/private /run/caches/new`),
		"755 /var/lib/sss/pipes\n750 /var/lib/sss/pipes/private\n755 /run/caches/new\n")
}

// TestAHostWithoutRenewalMayTakeTheNetworkAway tries the drop-in of the guide.
func TestAHostWithoutRenewalMayTakeTheNetworkAway(t *testing.T) {
	t.Parallel()
	m := bootMachine(t, "[sssd]\n")
	for _, unit := range []string{"sssd-kcm.service", "sssd-secrets.service"} {
		m.sh(0, fmt.Sprintf(`mkdir -p /etc/systemd/system/%s.d; cp /usr/share/doc/gosssd/no-network.conf /etc/systemd/system/%s.d/`, unit, unit))
	}
	m.sh(0, `systemctl daemon-reload; systemctl start sssd`)
	m.sh(someone, kinit+`; klist; kvno host/server.example.test`)
	for _, unit := range []string{"sssd-kcm.service", "sssd-secrets.service"} {
		if score := exposure(t, m.sh(0, `systemd-analyze security --no-pager `+unit)); score > 1.0 {
			t.Errorf("without a network %s has an exposure of %.1f", unit, score)
		}
		pid := m.property(unit, "MainPID")
		if net := m.sh(0, `readlink /proc/1/ns/net /proc/`+pid+`/ns/net | sort -u | wc -l`); net != "2\n" {
			t.Errorf("%s runs in the machine's network", unit)
		}
	}
}

// TestOnlyAnSssdKCMThatRenewsKeepsTheInternet counts the filters of system
// calls that the process has, wherever it was started.
func TestOnlyAnSssdKCMThatRenewsKeepsTheInternet(t *testing.T) {
	t.Parallel()
	needRealm(t)
	me := user(os.Getuid())
	for conf, more := range map[string]int{kept("memory"): 1, renewing("memory"): 0} {
		s := newSystem(t, conf).start()
		s.sh(me, `echo secret | kinit alice; klist`)
		monitor, kcm := seccompFilters(t, s.sssd.Process.Pid), seccompFilters(t, s.pid("sssd_kcm"))
		if kcm != monitor+more {
			t.Errorf("sssd has %d filters, sssd_kcm %d and not %d more, with\n%s", monitor, kcm, more, conf)
		}
	}
}

// seccompFilters is how many filters a process has (proc(5)).
func seccompFilters(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^Seccomp_filters:\s*(\d+)$`).FindSubmatch(status)
	if found == nil {
		skip(t, "this kernel does not count filters")
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}
