package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lay writes files into a new directory.
func lay(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestInstallLeavesSSSDsOwnPackagesAlone(t *testing.T) {
	t.Parallel()
	needProgram(t, "make")
	dir := lay(t, map[string]string{"usr/libexec/sssd/sssd_be": "", "usr/sbin/sssd": "SSSD's"})
	if out, err := makeInstall(dir); err == nil {
		t.Error("SSSD's own sssd is replaced without a word")
	} else {
		expect(t, string(out), "SSSD's own sssd is installed here", "REPLACE_SSSD=yes")
	}
	if text, err := os.ReadFile(dir + "/usr/sbin/sssd"); err != nil || string(text) != "SSSD's" {
		t.Errorf("its program is now of %d bytes, %v", len(text), err)
	}
	if out, err := makeInstall(dir, "REPLACE_SSSD=yes"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestShellsFindTheirCompletion(t *testing.T) {
	t.Parallel()
	needProgram(t, "make")
	dir := lay(t, nil)
	if out, err := makeInstall(dir); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, script := range []string{"bash-completion/completions/sssctl", "zsh/site-functions/_sssctl", "fish/vendor_completions.d/sssctl.fish"} {
		if text, err := os.ReadFile(dir + "/usr/share/" + script); err != nil || !strings.Contains(string(text), "__complete") {
			t.Errorf("%s: %d bytes, %v", script, len(text), err)
		}
	}
}

// TestLogsAreRotatedByOneEntry guards against a second entry beside that of
// Debian's sssd-common, for which logrotate refuses the whole file.
func TestLogsAreRotatedByOneEntry(t *testing.T) {
	t.Parallel()
	needProgram(t, "make")
	for name, there := range map[string]string{"Debian's is there": "sssd-common", "a fresh machine": ""} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"etc/logrotate.d/apt": "/var/log/apt/term.log {\n}\n"}
			if there != "" {
				files["etc/logrotate.d/"+there] = "/var/log/sssd/*.log {\n\tweekly\n}\n"
			}
			dir := lay(t, files)
			out, err := makeInstall(dir)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			_, err = os.Stat(dir + "/etc/logrotate.d/sssd")
			if installed := err == nil; installed != (there == "") {
				t.Errorf("the entry is installed: %v\n%s", installed, out)
			}
		})
	}
}

func TestUseKCMAddsWhatIsMissingAndTakesItBack(t *testing.T) {
	t.Parallel()
	const debians = "[libdefaults]\n\tdefault_realm = EXAMPLE.TEST\n"
	const mark = "# The next line is from use-kcm, and goes with use-kcm --undo.\n"
	const include = "includedir /etc/krb5.conf.d/\n"
	use := func(dir string, args ...string) (string, error) {
		cmd := exec.Command("../packaging/use-kcm", args...)
		cmd.Env = append(os.Environ(), "DESTDIR="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for name, test := range map[string]struct{ before, after, undone string }{
		"Debian's, which reads no directory": {debians, mark + include + debians, debians},
		"Fedora's, which does":               {"# Fedora\n" + include + debians, "# Fedora\n" + include + debians, "# Fedora\n" + include + debians},
		"a directory that others read first": {include + debians, include + debians, include + debians},
		"without the last slash":             {"includedir /etc/krb5.conf.d\n" + debians, "includedir /etc/krb5.conf.d\n" + debians, "includedir /etc/krb5.conf.d\n" + debians},
		"a default that would come second":   {debians + "\tdefault_ccache_name = FILE:/tmp/x\n", mark + include + debians + "\tdefault_ccache_name = FILE:/tmp/x\n", debians + "\tdefault_ccache_name = FILE:/tmp/x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := lay(t, map[string]string{"etc/krb5.conf": test.before})
			is := func(want string) {
				t.Helper()
				if got, err := os.ReadFile(dir + "/etc/krb5.conf"); err != nil || string(got) != want {
					t.Errorf("krb5.conf is %q, %v, expected %q", got, err, want)
				}
			}
			for range 2 {
				if out, err := use(dir); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				is(test.after)
			}
			snippet, err := os.ReadFile(dir + "/etc/krb5.conf.d/kcm_default_ccache")
			if err != nil {
				t.Error(err)
			}
			expect(t, string(snippet), "default_ccache_name = KCM:")
			if out, err := use(dir, "--undo"); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			is(test.undone)
			if entries, err := os.ReadDir(dir + "/etc"); err != nil || len(entries) != 2 {
				t.Errorf("etc holds %v, %v", entries, err)
			}
		})
	}
	dir := lay(t, map[string]string{"etc/krb5.conf": debians + "\tdefault_ccache_name = FILE:/tmp/x\n" + include})
	out, err := use(dir)
	if err == nil {
		t.Error("a default that comes first is not noticed")
	}
	expect(t, out, "sets another default", "FILE:/tmp/x")
}
