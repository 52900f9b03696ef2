package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAChangeOfTheMachineIsNoticed guards the comparison that make test makes
// of the machine before and after it.
func TestAChangeOfTheMachineIsNoticed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"nothing":                       "",
		"a PAM module is added":         `echo "auth optional pam_sss.so" >>etc/pam.d/common-auth`,
		"a PAM configuration is new":    `touch etc/pam.d/sssd-shadowutils`,
		"sss is added to nsswitch":      `sed -i 's/files/files sss/' etc/nsswitch.conf`,
		"a socket is enabled":           `mkdir etc/systemd/system/sockets.target.wants; ln -s /lib/systemd/system/sssd-kcm.socket etc/systemd/system/sockets.target.wants/`,
		"a service is disabled":         `rm etc/systemd/system/multi-user.target.wants/cron.service`,
		"a link of System V's is added": `ln -s ../init.d/krb5-kdc etc/rc2.d/S01krb5-kdc`,
		"a user is added":               `echo sssd:x:990:990::/:/bin/false >>etc/passwd`,
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			script := `cd "$ROOT"
				mkdir -p etc/pam.d etc/rc2.d etc/systemd/system/multi-user.target.wants
				echo 'auth required pam_unix.so' >etc/pam.d/common-auth; echo 'passwd: files' >etc/nsswitch.conf; : >etc/passwd
				ln -s /lib/systemd/system/cron.service etc/systemd/system/multi-user.target.wants/
				"$TESTS/unchanged.sh" before noted
				` + change + `
				"$TESTS/unchanged.sh" after noted`
			cmd := exec.Command("sh", "-euc", script)
			tests, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Env = append(os.Environ(), "ROOT="+root, "TESTS="+tests)
			out, err := cmd.CombinedOutput()
			if (err == nil) != (change == "") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// changesMachine finds in a maintainer script what setup.sh must not do to a
// machine.
var changesMachine = regexp.MustCompile(`deb-systemd-helper|update-rc\.d|pam-auth-update|nsswitch\.conf|adduser|useradd`)

// TestSetupInstallsOnlyWhatAddsPrograms looks into the maintainer scripts of
// what setup.sh installs, where it is installed.
func TestSetupInstallsOnlyWhatAddsPrograms(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("setup.sh")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?m)^packages="([^"]*)"`).FindSubmatch(script)
	if list == nil {
		t.Fatal("setup.sh has no list of packages")
	}
	const info = "/var/lib/dpkg/info/"
	looked := 0
	for _, pkg := range strings.Fields(string(list[1])) {
		if _, err := os.Stat(info + pkg + ".list"); err == nil {
			looked++
		}
		scripts, err := filepath.Glob(info + pkg + ".p*inst")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range scripts {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if found := changesMachine.Find(text); found != nil {
				t.Errorf("%s, which setup.sh installs, calls %s: unpack it below build instead", pkg, found)
			}
		}
	}
	if looked == 0 {
		skip(t, "needs Debian packages that are installed")
	}
	for _, script := range []string{"pam-auth-update --package", "deb-systemd-helper enable 'sssd-kcm.socket'"} {
		if !changesMachine.MatchString(script) {
			t.Errorf("%q is not found; the test shows nothing", script)
		}
	}
}
