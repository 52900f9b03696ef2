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

// checkCase is one configuration that Debian's sssctl config-check and ours
// are asked about.
type checkCase struct {
	files map[string]string // below /etc/sssd; a trailing "/" makes a directory
	mode  map[string]os.FileMode
	noDir bool     // there is no conf.d
	args  []string // DIR is /etc/sssd

	// Where the two differ: why, what Debian's says, and what ours says.
	why, debian, ours string
}

const good = "[sssd]\nservices = nss\n[kcm]\ndebug_level = 4\n"

var checkCases = map[string]checkCase{
	"a good file":                        {files: map[string]string{"sssd.conf": good}},
	"a good file and two snippets":       {files: map[string]string{"sssd.conf": good, "conf.d/b.conf": "[kcm]\n", "conf.d/a.conf": "[kcm]\nfd_limit = 100\n"}},
	"files that are no snippets":         {files: map[string]string{"sssd.conf": good, "conf.d/.a.conf": "[", "conf.d/a.conf~": "[", "conf.d/README": "["}},
	"snippets without a main file":       {files: map[string]string{"conf.d/a.conf": "[kcm]\nfd_limit = 100\n"}},
	"a link to a good snippet":           {files: map[string]string{"sssd.conf": good, "conf.d/a.conf": "-> ../elsewhere", "elsewhere": "[kcm]\n"}},
	"only comments":                      {files: map[string]string{"sssd.conf": "# nothing\n"}},
	"an option that does not exist":      {files: map[string]string{"sssd.conf": "[kcm]\ndebug_levl = 2\n"}},
	"a section that does not exist":      {files: map[string]string{"sssd.conf": "[kmc]\ndebug_level = 2\n"}},
	"several mistakes, one in a snippet": {files: map[string]string{"sssd.conf": "[kcm]\nx = 1\ny = 2\n[kmc]\n[sssd]\nz = 3\n", "conf.d/a.conf": "[kcm]\nq = 1\n"}},
	"an option of another section":       {files: map[string]string{"sssd.conf": "[sssd]\ntgt_renewal = true\n"}},
	"an option before any section":       {files: map[string]string{"sssd.conf": "fd_limit = 100\n"}},
	"a domain with an at sign":           {files: map[string]string{"sssd.conf": "[domain/A@B]\nid_provider = ldap\n[domain/x@]\n"}},
	"a section of some later version":    {files: map[string]string{"sssd.conf": "[radius]\n"}},
	"options of renewal":                 {files: map[string]string{"sssd.conf": "[kcm]\ntgt_renewal = true\nkrb5_renew_interval = 30m\n"}},
	"values beyond their bounds":         {files: map[string]string{"sssd.conf": "[kcm]\nfd_limit = 1\nclient_idle_timeout = 1\ndebug_level = 11\n"}},
	"no configuration at all":            {},
	"an unknown option of the command":   {files: map[string]string{"sssd.conf": good}, args: []string{"--frob"}, why: "each has its own words", debian: "Invalid option --frob", ours: "there is no option --frob"},
	"an argument too many":               {files: map[string]string{"sssd.conf": good}, args: []string{"extra"}, why: "each has its own words", debian: "Unexpected parameter: extra", ours: `there is an argument too many: "extra"`},
	"another file":                       {files: map[string]string{"sssd.conf": "[", "other/sssd.conf": good, "other/conf.d/a.conf": "[kmc]\n"}, args: []string{"-c", "DIR/other/sssd.conf"}},
	"another directory of snippets":      {files: map[string]string{"sssd.conf": good, "other/a.conf": "[kmc]\n"}, args: []string{"-s", "DIR/other"}},
	"both":                               {files: map[string]string{"sssd.conf": "[", "x.conf": good, "other/a.conf": "[kcm]\nx = 1\n"}, args: []string{"--config=DIR/x.conf", "--snippet=DIR/other"}},

	"a section in capitals": {
		files: map[string]string{"sssd.conf": "[KCM]\ndebug_level = 2\n"},
		why:   "SSSD reads [KCM] as [kcm], so it is not a mistake", debian: "Section [KCM] is not allowed", ours: "validators: 0",
	},
	"a section of the secrets service": {
		files: map[string]string{"sssd.conf": "[secrets]\nmax_secrets = 10\n"},
		why:   "SSSD 2.8 no longer has that service", debian: "Section [secrets] is not allowed", ours: "validators: 0",
	},
	"an identity socket": {
		files: map[string]string{"sssd.conf": "[sssd]\n[kcm/socket web]\npath = /run/web\nuser = 20001\n"},
		why:   "SSSD has none", debian: "Section [kcm/socket web] is not allowed", ours: "validators: 0",
	},
	"renewal without an interval": {
		files: map[string]string{"sssd.conf": "[kcm]\ntgt_renewal = true\n"},
		why:   "SSSD renews nothing then, and says nothing", debian: "validators: 0", ours: "krb5_renew_interval is not set",
	},
	"a wrong value": {
		files: map[string]string{"sssd.conf": "[kcm]\nfd_limit = many\n"},
		why:   "SSSD's check looks at names only", debian: "validators: 0", ours: "sssd.conf:2: [kcm] fd_limit: 'many' is not an integer",
	},
	"services = kcm": {
		files: map[string]string{"sssd.conf": "[sssd]\nservices = nss, kcm\n"},
		why:   "SSSD says so only when sssd starts", debian: "validators: 0", ours: "may not list 'kcm' (started by socket activation); write 'services = nss'",
	},
	"a prompt of a later version": {
		files: map[string]string{"sssd.conf": "[prompting/oauth2]\n"},
		why:   "SSSD 2.13 has it", debian: "Section [prompting/oauth2] is not allowed", ours: "[prompting/oauth2] is not served by this build",
	},
	"a wrong option of a section that is not served": {
		files: map[string]string{"sssd.conf": "[nss]\nfrob = 1\n"},
		why:   "this build knows no options of other services", debian: "Attribute 'frob' is not allowed in section 'nss'", ours: "[nss] is not served by this build",
	},
	"a wrong option of a domain": {
		files: map[string]string{"sssd.conf": "[domain/x]\nfrob = 1\n"},
		why:   "this build knows no options of domains", debian: "Attribute 'frob' is not allowed in section 'domain/x'", ours: "[domain/x] frob is not served by this build",
	},
	"a snippet that does not parse": {
		files: map[string]string{"sssd.conf": good, "conf.d/a.conf": "[kcm\n"},
		why:   "three lines for one mistake; ours is one, with file and line", debian: "merging: 3", ours: "merging: 1\n/etc/sssd/conf.d/a.conf:1: Error (2) on line 1: No closing bracket.",
	},
	"a snippet that others may read": {
		files: map[string]string{"sssd.conf": good, "conf.d/a.conf": "[kcm]\n"}, mode: map[string]os.FileMode{"conf.d/a.conf": 0o644},
		why: "ours names owner, mode and what was expected", debian: "a.conf did not pass access check", ours: "a.conf: did not pass access check: owner is uid 0, mode 0644; expected",
	},
	"a snippet that its group may read": {
		files: map[string]string{"sssd.conf": good, "conf.d/a.conf": "[kcm]\n"}, mode: map[string]os.FileMode{"conf.d/a.conf": 0o640},
		why: "since SSSD 2.10 a group may", debian: "a.conf did not pass access check", ours: "Used configuration snippet files: 1",
	},
	"a directory among the snippets": {
		files: map[string]string{"sssd.conf": good, "conf.d/a.conf/": ""},
		why:   "ours says it as of any file", debian: "a.conf is not a regular file. Skipping.", ours: "conf.d/a.conf: ",
	},
	"a main file that others may read": {
		files: map[string]string{"sssd.conf": good}, mode: map[string]os.FileMode{"sssd.conf": 0o644},
		why: "Debian's prints no blocks then", debian: "permissions check failed. Expected root:root and 0600", ours: "merging: 1\n/etc/sssd/sssd.conf: did not pass access check: owner is uid 0, mode 0644; expected",
	},
	"a main file that does not parse": {
		files: map[string]string{"sssd.conf": "[kcm\n"},
		why:   "Debian's prints no blocks then", debian: "Failed to load configuration from /etc/sssd/sssd.conf", ours: "merging: 1\n/etc/sssd/sssd.conf:1: Error (2) on line 1: No closing bracket.",
	},
	"no directory of snippets": {
		files: map[string]string{"sssd.conf": good}, noDir: true,
		why: "there need not be one; SSSD 2.10 and later agree", debian: "merging: 1\nDirectory /etc/sssd/conf.d does not exist.", ours: "Directory /etc/sssd/conf.d does not exist.\nIssues identified",
	},
	"a mistake without a directory of snippets": {
		files: map[string]string{"sssd.conf": "[kmc]\n"}, noDir: true,
		why: "as before; both fail", debian: "merging: 1", ours: "validators: 1",
	},
	"nothing, not even the directory": {
		noDir: true,
		why:   "as before", debian: "merging: 1", ours: "There is no configuration.",
	},
	"a file that is not there": {
		files: map[string]string{"sssd.conf": good}, args: []string{"-c", "/nonexistent/sssd.conf"},
		why: "the directory beside it is counted; both fail", debian: "merging: 1\nDirectory /nonexistent/conf.d does not exist.", ours: "File /nonexistent/sssd.conf does not exist.",
	},
	"a directory of snippets that is not there": {
		files: map[string]string{"sssd.conf": good}, args: []string{"-s", "/nonexistent"},
		why: "it is counted; both fail", debian: "merging: 1\nDirectory /nonexistent does not exist.", ours: "Directory /nonexistent does not exist.\nIssues",
	},
}

// TestConfigCheckSaysWhatDebiansSays compares the three blocks and the exit
// code. What differs is listed with its reason, and must differ.
func TestConfigCheckSaysWhatDebiansSays(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const debians = "/usr/sbin/sssctl"
	needNamespaces(t, "--mount")
	tree := needUnpacked(t, "sssd", "sssd-tools", "2.8")
	same := 0
	for name, test := range checkCases {
		t.Run(name, func(t *testing.T) {
			etc := t.TempDir()
			test.make(t, etc)
			debian, debianCode := test.check(t, tree, etc, debians)
			ours, oursCode := test.check(t, tree, etc, programs+"/sssctl")
			agree := normal(debian) == normal(ours) && debianCode == oursCode
			switch {
			case agree && test.why == "":
				same++
			case agree:
				t.Errorf("the two agree, but are held to differ (%s):\n%s", test.why, ours)
			case test.why == "":
				t.Errorf("Debian's, exit %d:\n%s\nours, exit %d:\n%s", debianCode, debian, oursCode, ours)
			default:
				expect(t, debian, test.debian)
				expect(t, ours, test.ours)
				t.Logf("exit %d, here %d: %s", debianCode, oursCode, test.why)
			}
			missing := strings.Contains(ours, "/nonexistent")
			if problems := missing || !strings.Contains(ours, "validators: 0") || !strings.Contains(ours, "merging: 0"); problems != (oursCode == 1) {
				t.Errorf("exit %d after:\n%s", oursCode, ours)
			}
		})
	}
	t.Logf("%d cases, %d the same, the others as listed", len(checkCases), same)
}

// make writes the files of the case into etc, which stands for /etc/sssd.
func (c checkCase) make(t *testing.T, etc string) {
	t.Helper()
	if !c.noDir {
		if err := os.Mkdir(etc+"/conf.d", 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range c.files {
		path := filepath.Join(etc, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		target, link := strings.CutPrefix(text, "-> ")
		switch {
		case err != nil:
		case link:
			err = os.Symlink(target, path)
		case strings.HasSuffix(name, "/"):
			err = os.Mkdir(path, 0o700)
		default:
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range c.mode {
		if err := os.Chmod(filepath.Join(etc, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// check runs config-check in a mount namespace where tree is installed and etc
// is /etc/sssd.
func (c checkCase) check(t *testing.T, tree, etc, sssctl string) (output string, code int) {
	t.Helper()
	script := `mkdir -p /etc/sssd /var/lib/sss /var/log/sssd
		mount --bind "$0" /etc/sssd
		for dir in /run /var/lib/sss /var/log/sssd; do mount -t tmpfs none $dir; done
		mkdir -p /var/lib/sss/db
		exec "$@"`
	args := []string{tree, "sh", "-ec", script, etc, sssctl, "config-check"}
	for _, arg := range c.args {
		args = append(args, strings.ReplaceAll(arg, "DIR", "/etc/sssd"))
	}
	cmd := exec.Command("./overlay.sh", args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

var (
	origin     = regexp.MustCompile(`(?m)^/[^ ]*:\d+: (\[rule/)`) // what ours puts before a finding
	suggestion = regexp.MustCompile(`(Check for typos\.) (?:Did you mean|It belongs to|An option stands before).*`)
	notes      = regexp.MustCompile(`(?s)\n(Warnings|Notes): \d.*`)
)

// normal takes from a report what ours has more than SSSD's, and sorts the
// lines of the first block, which follow no order that could be promised.
func normal(report string) string {
	report = notes.ReplaceAllString(report, "")
	report = origin.ReplaceAllString(report, "$1")
	report = suggestion.ReplaceAllString(report, "$1")
	first, rest, _ := strings.Cut(report, "\n\n")
	lines := strings.Split(first, "\n")
	slices.Sort(lines)
	return fmt.Sprintln(strings.Join(lines, "\n"), rest)
}
