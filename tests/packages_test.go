package tests

import (
	"bytes"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// needPackages returns the packages of a format, as make packages leaves them.
func needPackages(t *testing.T, pattern string) []string {
	t.Helper()
	if os.Getenv("GOSSSD_PACKAGES") == "" {
		skip(t, "make test-packages runs it: it takes minutes")
	}
	files, err := filepath.Glob("../build/packages/" + pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("make packages has made no %s (%v)", pattern, err)
	}
	return files
}

// rpm runs the unpacked rpm on a package.
func rpm(t *testing.T, file string, args ...string) string {
	t.Helper()
	tree := needUnpackedTree(t, "rpm")
	cmd := exec.Command(tree+"/usr/bin/rpm", append(args, "--dbpath", t.TempDir(), "-qp", file)...)
	libraries, err := filepath.Glob(tree + "/usr/lib/*-linux-gnu*")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "RPM_CONFIGDIR="+tree+"/usr/lib/rpm", "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// needUnpackedTree is where tests/setup.sh debian has unpacked a package.
func needUnpackedTree(t *testing.T, name string) string {
	t.Helper()
	tree, err := filepath.Abs("../build/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(tree); err != nil {
		skip(t, tree+" is missing: tests/setup.sh debian makes it")
	}
	return tree
}

// extract unpacks a package.
func extract(t *testing.T, file string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("dpkg-deb", "-x", file, dir)
	if strings.HasSuffix(file, ".rpm") {
		tree := needUnpackedTree(t, "rpm")
		cmd = exec.Command("sh", "-euc", `
			for dir in "$1"/usr/lib/*-linux-gnu*; do LD_LIBRARY_PATH=$dir; export LD_LIBRARY_PATH; done
			"$1/usr/bin/rpm2archive" - <"$2" | tar -xz -C "$3"`, "sh", tree, file, dir)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", file, err, out)
	}
	return dir
}

func TestPackagesHoldAllThatBelongsThere(t *testing.T) {
	t.Parallel()
	for _, file := range append(needPackages(t, "*.deb"), needPackages(t, "*.rpm")...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			name, monitor, tool := "gosssd", "/usr/sbin/sssd", "sssctl"
			if strings.Contains(file, "gosssd-kcm") {
				name, monitor, tool = "gosssd-kcm", "/usr/libexec/gosssd/gosssd", "gosssctl"
			}
			dir := extract(t, file)
			unitdir := "/usr/lib/systemd/system/"
			if strings.Contains(file, "deb12") {
				unitdir = "/lib/systemd/system/"
			}
			programs := []string{monitor, "/usr/sbin/" + tool, "/usr/libexec/sssd/sssd_kcm", "/usr/libexec/sssd/sssd_secrets"}
			for _, path := range append(programs,
				unitdir+filepath.Base(monitor)+".service", unitdir+"sssd-kcm.service", unitdir+"sockets.target.wants/sssd-kcm.socket",
				"/usr/lib/systemd/system-preset/85-"+name+".preset", "/etc/krb5.conf.d/kcm_default_ccache",
				"/usr/share/man/man8/sssd-kcm.8.gz", "/usr/share/doc/"+name+"/LICENSE", "/usr/share/doc/"+name+"/changelog.gz",
				"/usr/share/doc/"+name+"/copyright", "/usr/share/bash-completion/completions/"+tool,
				"/usr/share/zsh/site-functions/_"+tool, "/usr/share/fish/vendor_completions.d/"+tool+".fish",
				"/usr/share/dbus-1/interfaces/org.freedesktop.sssd.kcm.xml",
				"/usr/share/dbus-1/interfaces/org.gosssd.Kcm1.xml", "/usr/share/dbus-1/system.d/org.gosssd.Kcm1.conf",
				"/usr/share/dbus-1/system-services/org.gosssd.Kcm1.service", "/usr/lib/systemd/catalog/gosssd.catalog", "/usr/share/"+name+"/sbom.cdx.json",
			) {
				if info, err := os.Stat(dir + path); err != nil || info.Size() == 0 {
					t.Errorf("%s: %v", path, err)
				}
			}
			bom, err := os.ReadFile(dir + "/usr/share/" + name + "/sbom.cdx.json")
			if err != nil {
				t.Fatal(err)
			}
			for _, program := range programs {
				checkProgram(t, dir+program, strings.Contains(file, "arm64") || strings.Contains(file, "aarch64"), bom)
			}
			units, err := exec.Command("grep", "-rhE", "^(NoNewPrivileges|DynamicUser|User)=", dir+unitdir).Output()
			if isRPM := strings.HasSuffix(file, ".rpm"); err == nil == isRPM {
				t.Errorf("the units say:\n%s", units)
			}
		})
	}
}

// checkProgram expects a static program for the right machine whose libraries
// are in the list of what it is made of.
func checkProgram(t *testing.T, path string, arm bool, bom []byte) {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := map[bool]elf.Machine{true: elf.EM_AARCH64, false: elf.EM_X86_64}[arm]; f.Machine != want {
		t.Errorf("%s is for %v", path, f.Machine)
	}
	if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 || f.Section(".interp") != nil {
		t.Errorf("%s is not static: %v, %v", path, libraries, err)
	}
	var listed struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(bom, &listed); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, c := range listed.Components {
		versions[c.Name] = c.Version
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if versions["stdlib"] != strings.TrimPrefix(info.GoVersion, "go") {
		t.Errorf("the list says Go %s, %s %s", versions["stdlib"], path, info.GoVersion)
	}
	for _, module := range info.Deps {
		if versions[module.Path] != module.Version {
			t.Errorf("%s %s of %s is %q in the list", module.Path, module.Version, path, versions[module.Path])
		}
	}
}

func TestPackagesOfRPMSayWhatTheyReplace(t *testing.T) {
	t.Parallel()
	for _, file := range needPackages(t, "*.rpm") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			scripts := rpm(t, file, "--scripts")
			expect(t, scripts, "posttrans scriptlet", "preuninstall scriptlet", "postuninstall scriptlet", "daemon-reload")
			expect(t, rpm(t, file, "--configfiles"), "/etc/krb5.conf.d/kcm_default_ccache")
			expect(t, rpm(t, file, "--changelog"), "Release 0.1.0")
			relations := rpm(t, file, "--provides", "--obsoletes", "--conflicts", "--recommends")
			if strings.Contains(file, "gosssd-kcm") {
				expect(t, relations, "sssd-kcm = 2.99", "sssd-common", "\nsssd-kcm < 2.99\n")
				expect(t, scripts, "gosssctl import")
			} else {
				expect(t, relations, "sssd-common", "gosssd-kcm")
			}
		})
	}
}

// accepted are the words of rpmlint that have a reason.
var accepted = map[string]string{
	"only-non-binary-in-usr-lib":      "units and presets belong there",
	"not-listed-as-documentation":     "LICENSE is marked as a license",
	"non-standard-dir-perm":           "the modes are SSSD's",
	"no-url-tag":                      "there is no page",
	"no-signature":                    "who distributes them signs them",
	"no-manual-page-for-binary":       "this rpmlint finds none that are compressed by gzip",
	"no-group-tag":                    "groups are of the past",
	"no-binary":                       "this rpmlint does not see static programs",
	"no-documentation":                "it is in the list",
	"missing-dependency-to-logrotate": "logs are kept small without it, too",
	"logrotate-exception":             "this rpmlint does not unpack",
	"dbus-parsing-exception":          "nor here",
	"dangerous-command-in-%preun":     "rm of units and sockets of ours",
	"incoherent-logrotate-file":       "the name is SSSD's",
	"manpage-not-compressed":          "by gzip they are",
	"invalid-license":                 "the name is SPDX's",
	"no-dependency-on":                "there are no locales",
}

// What rpmlint objects to is mended, or accepted says why it is so.
func TestPackagesAreAsRPMWantsThem(t *testing.T) {
	t.Parallel()
	needRoot(t)
	tree := needUnpackedTree(t, "rpmlint")
	for _, file := range needPackages(t, "*x86_64.rpm") {
		out, _ := exec.Command("./overlay.sh", tree, "rpmlint", file).CombinedOutput() // it fails for what is accepted, too
		found := 0
		for line := range strings.Lines(string(out)) {
			if words := strings.Fields(line); len(words) > 2 && strings.HasSuffix(words[0], ".x86_64:") {
				found++
				if accepted[words[2]] == "" {
					t.Errorf("%s: %s", filepath.Base(file), line)
				}
			}
		}
		if found == 0 {
			t.Errorf("rpmlint does not look at %s:\n%s", filepath.Base(file), out)
		}
	}
}

// TestPackagesAreTheSameBytesAgain makes one of each format in two places.
func TestPackagesAreTheSameBytesAgain(t *testing.T) {
	t.Parallel()
	needPackages(t, "*.deb")
	what := []string{"beside-amd64-deb12", "whole-arm64-rpm"}
	var made [2]map[string][]byte
	for i := range made {
		dir := t.TempDir()
		cmd := exec.Command("../packaging/packages", append([]string{"0.1.0", dir}, what...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		made[i] = map[string][]byte{}
		files, err := filepath.Glob(dir + "/gosssd*")
		if err != nil || len(files) != len(what) {
			t.Fatalf("made %v, %v", files, err)
		}
		for _, file := range files {
			if made[i][filepath.Base(file)], err = os.ReadFile(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, bytesOf := range made[0] {
		if !bytes.Equal(bytesOf, made[1][name]) {
			t.Errorf("%s is made of %d bytes and of %d others", name, len(bytesOf), len(made[1][name]))
		}
	}
}

func TestPackagesHaveScriptsThatShellcheckLikes(t *testing.T) {
	t.Parallel()
	needPackages(t, "*.deb")
	program := needUnpackedTree(t, "shellcheck") + "/usr/bin/shellcheck"
	out, err := exec.Command("sh", "-euc", `
		"$0" -s sh -S warning ../packaging/deb/* ../packaging/packages
		"$0" -s sh -S warning -e SC2148 ../packaging/rpm/*`, program).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What lintian objects to is mended, or packaging/deb/lintian-overrides says why
// it is so.
func TestPackagesAreAsDebianWantsThem(t *testing.T) {
	t.Parallel()
	tree := needUnpackedTree(t, "lintian")
	check := func(file string) string {
		t.Helper()
		cmd := exec.Command("./overlay.sh", tree, "lintian", "--allow-root", "--fail-on", "none", file)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	needRoot(t)
	for _, file := range needPackages(t, "*.deb") {
		copied := filepath.Join(t.TempDir(), filepath.Base(file)) // lintian drops root's rights
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if out := check(copied); out != "" {
			t.Errorf("%s:\n%s", filepath.Base(file), out)
		}
	}
}
