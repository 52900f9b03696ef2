package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"gosssd/kcm/ldb/ldbtest"
	"gosssd/layout"
)

// otherForms are the programs of the forms that TestMain has not built.
var otherForms struct {
	sync.Mutex
	built map[string]error
}

// programsOf returns where the programs of a form are, and builds them when they
// are asked for first.
func programsOf(t testing.TB, form layout.Layout) string {
	t.Helper()
	if form == layout.Current() {
		return programs
	}
	otherForms.Lock()
	defer otherForms.Unlock()
	dir := filepath.Join(scratch, form.Form)
	err, found := otherForms.built[form.Form]
	if !found {
		err = build(form, dir)
		if otherForms.built == nil {
			otherForms.built = map[string]error{}
		}
		otherForms.built[form.Form] = err
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func build(form layout.Layout, dir string) error {
	out, err := exec.Command("make", "-C", "..", "build", "FORM="+form.Form, "BIN="+dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// inBothForms runs a test with the programs of each form.
func inBothForms(t *testing.T, test func(t *testing.T, form layout.Layout)) {
	t.Helper()
	for _, form := range layout.All() {
		t.Run(form.Form, func(t *testing.T) { test(t, form) })
	}
}

// besideForm is the form that runs beside an SSSD.
func besideForm() layout.Layout {
	all := layout.All()
	return all[slices.IndexFunc(all, func(l layout.Layout) bool { return l.Beside })]
}

// TestTheMakefileHasTheNamesOfTheForms compares the table of the Makefile with
// that of package layout.
func TestTheMakefileHasTheNamesOfTheForms(t *testing.T) {
	t.Parallel()
	needProgram(t, "make")
	inBothForms(t, func(t *testing.T, form layout.Layout) {
		out, err := exec.Command("make", "-C", "..", "-pn", "FORM="+form.Form, "clean").Output()
		if err != nil {
			t.Fatal(err)
		}
		variables := map[string]string{"prefix": "", "sbindir": "", "libexecdir": "", "monitor": "", "tool": "", "monitordir": "", "UNITS": ""}
		for _, found := range regexp.MustCompile(`(?m)^(\w+) = (.*)$`).FindAllStringSubmatch(string(out), -1) {
			if _, wanted := variables[found[1]]; wanted {
				variables[found[1]] = found[2]
			}
		}
		expanded := variables["monitordir"]
		for range 3 {
			expanded = os.Expand(strings.NewReplacer("(", "{", ")", "}").Replace(expanded), func(name string) string { return variables[name] })
			expanded = strings.NewReplacer("(", "{", ")", "}").Replace(expanded)
		}
		for name, values := range map[string][2]string{
			"monitor": {variables["monitor"], form.Monitor}, "tool": {variables["tool"], form.Tool},
			"monitordir": {expanded, form.Programs}, "UNITS": {variables["UNITS"], form.Monitor + ".service"},
		} {
			if values[0] != values[1] {
				t.Errorf("%s is %q in the Makefile and %q in package layout", name, values[0], values[1])
			}
		}
	})
	if err := exec.Command("make", "-C", "..", "-pn", "FORM=other", "clean").Run(); err == nil {
		t.Error("make takes any FORM")
	}
}

// TestTheReadmeHasTheTableOfTheForms looks for every name of package layout in
// the column of its form.
func TestTheReadmeHasTheTableOfTheForms(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(readme), "\n<!-- forms -->\n")
	table, _, closed := strings.Cut(table, "\n<!-- /forms -->\n")
	if !found || !closed {
		t.Fatal("there is no table")
	}
	columns := map[string]string{}
	lines := strings.Split(table, "\n")
	heads := strings.Split(lines[0], " | ")
	for _, line := range lines[2:] {
		for i, cell := range strings.Split(strings.Trim(line, "| "), " | ")[1:] {
			columns[strings.Trim(heads[i+1], "| ")] += cell + "\n"
		}
	}
	for _, form := range layout.All() {
		for _, name := range []string{
			"`" + form.Package + "`", "`" + form.Programs + "/" + form.Monitor + "`", "`" + form.Monitor + ".service`", "`" + form.Tool + "`",
			"`" + form.Database + "`", "`" + form.Bus + "`", "`" + form.PIDFile + "`", "/" + form.Monitor + ".log`", "`" + form.Storage + "`",
			form.Monitor + "(8)", form.Tool + "(8)", form.Monitor + ".conf(5)",
		} {
			if !strings.Contains(columns[form.Form], name) {
				t.Errorf("the column %s lacks %s", form.Form, name)
			}
		}
	}
}

// TestBothFormsKeepTickets is the core of all other tests, with the programs of
// both forms: clients, a restart to reload, kill -9, the tool.
func TestBothFormsKeepTickets(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	needRealm(t)
	me := user(os.Getuid())
	inBothForms(t, func(t *testing.T, form layout.Layout) {
		s := newSystemOf(t, form, "[sssd]\nservices = nss, pam\n[kcm]\ndebug_level = 2\n").start()
		users := everybody()
		kept := map[user]string{}
		for _, u := range users {
			kept[u] = s.sh(u, `echo secret | kinit alice >/dev/null; kvno -q host/server.example.test; klist`)
			expect(t, kept[u], fmt.Sprintf("Ticket cache: KCM:%d", u), "host/server.example.test@EXAMPLE.TEST")
		}
		still := func(after string) {
			t.Helper()
			for _, u := range users {
				if out := s.sh(u, `klist`); out != kept[u] {
					t.Errorf("after %s uid %d has\n%sinstead of\n%s", after, u, out, kept[u])
				}
			}
		}
		level := func() string { t.Helper(); return s.sh(me, `"$TOOL" --root "$ROOT" debug-level --kcm`) }
		expect(t, s.sh(me, `"$TOOL" --root "$ROOT" config-show kcm`), "ccache_storage = "+form.Storage+" ")
		s.configure("[kcm]\ndebug_level = 6\n")
		s.killHard("sssd_kcm")
		still("kill -9 of sssd_kcm")
		expect(t, level(), "0x0070") // only the monitor reads sssd.conf
		s.restart()
		still("a restart of " + form.Monitor)
		expect(t, level(), "0x07f0")
		s.configure("[kcm]\ndebug_level = 7\n")
		s.sh(me, `"$TOOL" --root "$ROOT" restart`)
		still("the tool's restart")
		expect(t, level(), "0x17f0")
		s.kill(syscall.SIGKILL)
		still("kill -9 of " + form.Monitor)
		s.awaitStatus(3, "running without "+form.Monitor, form.Service+" is not running.")
		s.start()
		still("the start after that")
		s.awaitStatus(0, "kcm      running", form.Monitor)
		for _, u := range users {
			s.sh(u, `kdestroy; ! klist -s`)
		}
	})
}

func TestImportInBothForms(t *testing.T) {
	t.Parallel()
	b := ldbtest.New()
	b.Cache(30000, 1, "30000", 1, "a", "b")
	inBothForms(t, func(t *testing.T, form layout.Layout) {
		s := newSystemOf(t, form, "")
		s.write("/var/lib/sss/secrets/secrets.ldb", string(b.File), 0o600)
		s.start()
		if got := s.imported(); got != "From SSSD's sssd_kcm: users 1, caches imported 1, present already 0\n" {
			t.Error(got)
		}
	})
}

// TestThePersistentLevelIsOfTheSectionOfTheMonitor: whatever the monitor's
// program is called, its options stand in [sssd].
func TestThePersistentLevelIsOfTheSectionOfTheMonitor(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	me := user(os.Getuid())
	inBothForms(t, func(t *testing.T, form layout.Layout) {
		s := newSystemOf(t, form, defaults).start()
		s.sh(me, `"$TOOL" --root "$ROOT" debug-level --`+form.Monitor+` --persist 5`)
		s.restart()
		expect(t, s.sh(me, `"$TOOL" --root "$ROOT" debug-level --`+form.Monitor), "0x03f0")
	})
}

// TestBesideSSSDItsLogsAreLeftAlone guards against logs-remove taking SSSD's.
func TestBesideSSSDItsLogsAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := newSystemOf(t, besideForm(), defaults).start()
	for _, name := range []string{"sssd.log", "sssd_nss.log", "sssd_example.test.log.1", "gosssd.log.1", "sssd_kcm.log.2.gz"} {
		s.write("/var/log/sssd/"+name, "a line\n", 0o600)
	}
	out := s.sh(user(os.Getuid()), `"$TOOL" --root "$ROOT" logs-remove; cat "$ROOT"/var/log/sssd/sssd.log
		"$TOOL" --root "$ROOT" logs-remove --delete; cat "$ROOT"/var/log/sssd/sssd_*; ls "$ROOT"/var/log/sssd`)
	expect(t, out, "a line\nDeleting", "a line\na line\n", "sssd_nss.log\n")
	refuse(t, out, "gosssd.log.1", "sssd_kcm.log.2.gz")
}

// ofSSSD are files that SSSD makes when it runs, which are in no package:
// sssd.conf(5), sssd(8) and a look at running ones, as regular expressions.
var ofSSSD = regexp.MustCompile(`^(/run/sssd\.pid|/var/run/sssd\.pid|/run/secrets\.socket` +
	`|/var/lib/sss/db/(config|config_kcm|sssd|cache_.*|timestamps_.*|ccache_.*)\.ldb` +
	`|/var/lib/sss/pipes/(nss|pam|sudo|autofs|ssh|pac|private/(pam|sbus-.*))` +
	`|/var/lib/sss/mc/.*|/var/lib/sss/secrets/(secrets\.ldb|\.secrets\.mkey)` +
	`|/var/log/sssd/(sssd|sssd_(nss|pam|sudo|autofs|ssh|pac|ifp|be)|krb5_child|ldap_child|gpo_child|selinux_child|proxy_child|p11_child)\.log)$`)

// TestBesideSSSDNothingIsSSSDs compares the files that the form beside installs
// and makes with those of Debian's packages of SSSD and of a running SSSD. Only
// what is there to take the place of sssd-kcm may be both's.
func TestBesideSSSDNothingIsSSSDs(t *testing.T) {
	t.Parallel()
	needRealm(t)
	tree := needUnpacked(t, "sssd", "sssd-common", "")
	theirs := map[string]bool{}
	walk(t, tree, func(path string) { theirs[resolved(path)] = true })
	if len(theirs) < 100 || !theirs["/usr/sbin/sssd"] || !theirs["/usr/lib/systemd/system/sssd-kcm.socket"] {
		t.Fatalf("%d files of Debian's packages; the test shows nothing", len(theirs))
	}
	replaced := []string{ // sssd-kcm's
		"/usr/libexec/sssd/sssd_kcm", "/usr/lib/systemd/system/sssd-kcm.socket", "/usr/lib/systemd/system/sssd-kcm.service",
		"/usr/share/man/man8/sssd-kcm.8", "/usr/share/sssd-kcm/kcm_default_ccache",
	}
	check := func(root string) (looked int) {
		walk(t, root, func(path string) {
			path = resolved(path)
			looked++
			if (theirs[path] || theirs[path+".gz"] || ofSSSD.MatchString(path)) && !slices.Contains(replaced, path) {
				t.Errorf("%s is SSSD's", path)
			}
		})
		return looked
	}
	dest := lay(t, map[string]string{"etc/logrotate.d/sssd-common": "/var/log/sssd/*.log {\n\tweekly\n}\n"})
	out, err := makeInstall(dest, "FORM=beside", "BIN="+filepath.Join(scratch, "install.beside"))
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.Remove(dest + "/etc/logrotate.d/sssd-common"); err != nil {
		t.Fatal(err)
	}
	if n := check(dest); n < 15 {
		t.Errorf("make install has installed %d files", n)
	}
	for _, path := range replaced {
		if _, err := os.Stat(dest + path); err != nil {
			t.Error(err)
		}
	}

	s := newSystemOf(t, besideForm(), "").start()
	me := user(os.Getuid())
	s.sh(me, `echo secret | kinit alice; "$TOOL" --root "$ROOT" status`)
	if n := check(s.root); n < 9 {
		t.Errorf("a running gosssd has %d files", n)
	}
	whole := newSystem(t, "").start()
	found := false
	walk(t, whole.root, func(path string) { found = found || ofSSSD.MatchString(path) })
	if !found {
		t.Error("the form whole has no file of SSSD's either; the test shows nothing")
	}
}

// walk visits all files below root by their paths there.
func walk(t *testing.T, root string, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Dir(path) != root {
			visit(strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// resolved is a path under merged /usr, where /lib is /usr/lib.
func resolved(path string) string {
	for _, dir := range []string{"/lib/", "/bin/", "/sbin/"} {
		if strings.HasPrefix(path, dir) {
			return "/usr" + path
		}
	}
	return path
}

// TestMessagesNameTheProgramsOfTheForm: the words sssd and sssctl in a message
// would be wrong beside SSSD. Names of programs come from package layout; what
// is SSSD's in both forms is listed here.
func TestMessagesNameTheProgramsOfTheForm(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile(`(^|[^\w/.\[-])(sssd|sssctl)($|[^\w/.\]=-]|\.($|[^a-z])|=)`)
	same := regexp.MustCompile(`SSSD's own sssd|systemctl restart sssd`)
	names := []string{"sssd", "sssd[", "sssd."} // of a section, of the journal's SSSD_PRG_NAME, of the bus
	looked := 0
	for _, dir := range []string{"cmd", "confdb", "kcm", "kdc", "linux", "responder", "sbus", "secrets"} {
		err := filepath.WalkDir("../"+dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					return true
				}
				looked++
				text, err := strconv.Unquote(literal.Value)
				if err == nil && !slices.Contains(names, text) && word.MatchString(same.ReplaceAllString(text, "")) {
					t.Errorf("%v: %q", files.Position(literal.Pos()), text)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if looked < 1000 || !word.MatchString("start sssd") || !word.MatchString("see sssctl.") || word.MatchString("edit sssd.conf") {
		t.Errorf("%d literals; the test shows nothing", looked)
	}
}
