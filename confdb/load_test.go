package confdb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSnippetsAreReadInTheOrderOfTheirBytes(t *testing.T) {
	r := newRoot(t)
	r.write(t, "/etc/sssd/sssd.conf", "[kcm]\nfd_limit = 64\ntgt_renewal = true\n")
	used := []string{" sp.conf", "#x.conf", "1-a.conf", "1.conf", "10.conf", "1_a.conf", "9.conf", "Z.conf", "_.conf", "a.conf", "conf.conf", "é.conf"}
	for i, name := range used {
		r.write(t, "/etc/sssd/conf.d/"+name, "[KCM]\nFD_LIMIT = "+strings.Repeat("9", i+2)[:2]+"\n")
	}
	for _, name := range []string{".x.conf", ".conf", "a.conf~", "z.CONF", "README", `\x.conf`} {
		r.write(t, "/etc/sssd/conf.d/"+name, "this would not parse\n")
	}
	if err := os.Mkdir(r.path("/etc/sssd/conf.d/sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.write(t, "/etc/sssd/conf.d/sub/x.conf", "nor this\n")

	c := r.good(t)
	var names []string
	for _, path := range c.Snippets {
		names = append(names, filepath.Base(path))
	}
	if !slices.Equal(names, used) {
		t.Errorf("used %q,\nwant %q", names, used)
	}
	rows := c.Snapshot().Show("kcm")
	i := slices.IndexFunc(rows, func(row Row) bool { return row.Key == "fd_limit" })
	if want := r.path("/etc/sssd/conf.d/é.conf:2"); rows[i].Value != "99" || rows[i].Origin != want {
		t.Errorf("got %+v, want the value of %s", rows[i], want)
	}
	if !c.Snapshot().Section("kcm").Bool("tgt_renewal") {
		t.Error("an option no snippet names is lost")
	}
}

func TestAnEmptyValueUnsets(t *testing.T) {
	r := newRoot(t)
	r.write(t, "/etc/sssd/sssd.conf", "[kcm]\nfd_limit = 64\n[sssd]\nservices =\n")
	r.write(t, "/etc/sssd/conf.d/a.conf", "[kcm]\nfd_limit =\n")
	s := r.good(t).Snapshot()
	if s.Section("kcm").IsSet("fd_limit") || s.Section("kcm").Int("fd_limit") != 2048 {
		t.Errorf("fd_limit is %d", s.Section("kcm").Int("fd_limit"))
	}
	r.write(t, "/etc/sssd/conf.d/b.conf", "[kcm]\nfd_limit = 65\n")
	if got := r.good(t).Snapshot().Section("kcm").Int("fd_limit"); got != 65 {
		t.Errorf("fd_limit set again is %d", got)
	}
}

func TestMissingFilesAreNoError(t *testing.T) {
	r := newRoot(t)
	if err := os.Remove(r.path("/etc/sssd/conf.d")); err != nil {
		t.Fatal(err)
	}
	c := r.good(t)
	if got := c.Snapshot().Section("kcm").Int("fd_limit"); got != 2048 {
		t.Errorf("without files fd_limit is %d", got)
	}
	if want := []string{r.sources().File, r.sources().SnippetDir}; !slices.Equal(c.Missing, want) {
		t.Errorf("missing are %q", c.Missing)
	}
	if err := os.Mkdir(r.path("/etc/sssd/conf.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.write(t, "/etc/sssd/conf.d/a.conf", "[kcm]\nfd_limit = 65\n")
	if got := r.good(t).Snapshot().Section("kcm").Int("fd_limit"); got != 65 {
		t.Errorf("with a snippet only fd_limit is %d", got)
	}
}

func TestModesWithoutAnyBitForOthersPass(t *testing.T) {
	for _, mode := range []os.FileMode{0o400, 0o600, 0o640, 0o660, 0o700, 0o770} {
		r := newRoot(t)
		r.write(t, "/etc/sssd/sssd.conf", "[kcm]\n")
		if err := os.Chmod(r.sources().File, mode); err != nil {
			t.Fatal(err)
		}
		r.good(t)
	}
}

func TestASymbolicLinkToAGoodFileIsFollowed(t *testing.T) {
	r := newRoot(t)
	r.write(t, "/etc/kcm", "[kcm]\nfd_limit = 65\n")
	if err := os.Symlink("../../kcm", r.path("/etc/sssd/conf.d/a.conf")); err != nil {
		t.Fatal(err)
	}
	if got := r.good(t).Snapshot().Section("kcm").Int("fd_limit"); got != 65 {
		t.Errorf("fd_limit is %d", got)
	}
}

func TestFilesOfAnotherUserAreRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make files of another user")
	}
	r := newRoot(t)
	r.write(t, "/etc/sssd/sssd.conf", "[kcm]\n")
	if err := os.Chown(r.sources().File, 4711, 0); err != nil {
		t.Fatal(err)
	}
	sources := r.sources()
	for owner, good := range map[uint32]bool{0: false, 4710: false, 4711: true} {
		sources.OwnerUID = owner
		c, err := Load(sources, testSchema())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Err(); (err == nil) != good {
			t.Errorf("where %d may own files: %v", owner, err)
		} else if err != nil && !strings.Contains(err.Error(), "owner is uid 4711, mode 0600") {
			t.Errorf("the message does not name the owner: %v", err)
		}
	}
}

// TestARealFileOfAnADJoinedHostLoads guards that an existing sssd.conf works
// unchanged.
func TestARealFileOfAnADJoinedHostLoads(t *testing.T) {
	text, err := os.ReadFile("testdata/ad-joined.conf")
	if err != nil {
		t.Fatal(err)
	}
	r := newRoot(t)
	r.write(t, "/etc/sssd/sssd.conf", string(text))
	c := r.good(t)

	var told []string
	for _, finding := range c.Findings {
		text := strings.TrimPrefix(finding.String(), string(r)+"/etc/sssd/sssd.conf:")
		_, text, _ = strings.Cut(text, ": ")
		text, _, _ = strings.Cut(text, " build: ")
		told = append(told, text)
	}
	want := []string{
		"[sssd] 5 options are not served by this",
		"[sssd] services: this build keeps tickets and secrets only and does not serve nss, pam, ssh, sudo, autofs, pac; " +
			"a host that has users, logins or sudo rules from SSSD needs SSSD's own sssd",
		"[nss] is not served by this build",
		"[pam] is not served by this build",
		"[ssh] is not served by this build",
		"[sudo] is not served by this build",
		"[autofs] is not served by this build",
		"[pac] is not served by this build",
		"[ifp] is not served by this build",
		"[session_recording] is not served by this build",
		"[kcm] 3 options are not served by this",
		"[domain/corp.example.com] 41 options are not served by this",
		"[domain/corp.example.com/emea.corp.example.com] is not served by this build",
		"[domain/lab.corp.example.com] 8 options are not served by this",
		"[application/portal] is not served by this build",
		"[certmap/corp.example.com/smartcards] is not served by this build",
		"[prompting/password] is not served by this build",
		"[prompting/2fa/sshd] is not served by this build",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	s := c.Snapshot()
	if s.Section("kcm").Int("debug_level") != 0x70 || s.Section("domain/corp.example.com").Duration("krb5_renew_interval").Hours() != 1 {
		t.Error("what is served is not read")
	}
	for _, row := range s.Show("") {
		if row.Key == "ldap_default_authtok" && row.Value != masked {
			t.Errorf("a secret is shown: %+v", row)
		}
		if row.Key == "full_name_format" && row.Value != "%1$s@%2$s" {
			t.Errorf("a value is not kept: %+v", row)
		}
	}
}
