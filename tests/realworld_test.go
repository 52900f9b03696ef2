package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gosssd/layout"
)

// TestTheConfigurationOfAnADJoinedHostWorks guards that an sssd.conf as it is
// found on real machines serves here: what is of other services is told once
// and left alone.
func TestTheConfigurationOfAnADJoinedHostWorks(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	text, err := os.ReadFile("../confdb/testdata/ad-joined.conf")
	if err != nil {
		t.Fatal(err)
	}
	me := user(os.Getuid())
	s := newSystem(t, string(text))
	s.write("/etc/sssd/conf.d/50-log.conf", "[sssd]\ndebug_level = 0x03f0\n", 0o600)
	check := s.sh(me, `"$BIN"/sssctl --root "$ROOT" config-check`)
	expect(t, check, "Issues identified by validators: 0\n", "Warnings: 2\n", "Notes: 16\n",
		"[sssd] services: this build keeps tickets and secrets only and does not serve nss, pam, ssh, sudo, autofs, pac;",
		"[sssd] domains: has no effect: ",
		"[sssd] 4 options are not served by this build: certificate_verification, default_domain_suffix, full_name_format, re_expression\n",
		"[nss] is not served by this build\n", "[prompting/2fa/sshd] is not served by this build\n",
		"[domain/corp.example.com] 41 options are not served by this build: ")
	s.start()
	_, warnings, _ := strings.Cut(check, "Warnings: ")
	for note := range strings.Lines(warnings) {
		_, told, found := strings.Cut(note, ": [")
		if n := strings.Count(s.log("sssd"), "["+strings.TrimSpace(told)); found && n != 1 {
			t.Errorf("sssd.log says %d times, expected once: [%s", n, told)
		}
	}
	s.wake("")
	name := fmt.Sprint(me)
	c := s.kcm()
	if err := c.Initialize(name, principal("alice")); err != nil {
		t.Fatal(err)
	}
	if err := c.store(name, principal("alice"), "server"); err != nil {
		t.Fatal(err)
	}
	if kept, err := c.services(name); err != nil || !slices.Equal(kept, []string{"server"}) {
		t.Errorf("the cache holds %v, %v", kept, err)
	}
	expect(t, s.sh(me, `"$BIN"/sssctl --root "$ROOT" debug-level`), "0x03f0", "0x0070")
	show := s.sh(me, `"$BIN"/sssctl --root "$ROOT" config-show`)
	expect(t, show, "ldap_default_authtok = ********", "full_name_format = %1$s@%2$s", "[domain/lab.corp.example.com]")
	for _, text := range []string{show, s.log("sssd"), s.log("sssd_kcm"), s.log("sssd_secrets")} {
		refuse(t, text, "not # a comment; a password")
	}
}

// TestRealConfigurationsLoadInBothForms has whole files of joined hosts, with
// the owners and modes that packages of SSSD give them. Beside SSSD none of what
// is SSSD's is worth a warning, and it may have more than we know.
func TestRealConfigurationsLoadInBothForms(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	files, err := filepath.Glob("../confdb/testdata/*-joined.conf")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	me := user(os.Getuid())
	inBothForms(t, func(t *testing.T, form layout.Layout) {
		for _, file := range files {
			t.Run(filepath.Base(file), func(t *testing.T) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				s := newSystemOf(t, form, string(text))
				if err := os.Chmod(s.path("/etc/sssd/sssd.conf"), 0o640); err != nil {
					t.Fatal(err)
				}
				if me == 0 { // 0640 root:sssd
					if err := os.Chown(s.path("/etc/sssd/sssd.conf"), 0, 990); err != nil {
						t.Fatal(err)
					}
				}
				if form.Beside {
					s.write("/etc/sssd/conf.d/newer.conf", "[sssd]\nan_option_of_tomorrow = 1\n[a_service_of_tomorrow]\nx = 1\n[domain/a]\nkrb5_renew_interval = 1d 12h\n[domain/b]\nkrb5_renew_interval = 1:30:00\n", 0o600)
				}
				check := s.sh(me, `"$TOOL" --root "$ROOT" config-check`)
				expect(t, check, "Issues identified by validators: 0\n")
				if form.Beside {
					expect(t, check, "[nss] is left to SSSD\n", "[a_service_of_tomorrow] is left to SSSD\n")
				}
				if warns := strings.Contains(check, "\nWarnings: "); warns == form.Beside {
					t.Errorf("warnings: %v\n%s", warns, check)
				}
				s.start()
				c := s.kcm()
				if err := c.Initialize(fmt.Sprint(me), principal("alice")); err != nil {
					t.Fatal(err)
				}
				s.stop()
				if form.Beside {
					refuse(t, s.log(form.Monitor)+s.output.String(), "services", "domains")
				}
			})
		}
	})
}

// TestBesideSSSDMistakesInOurSectionsAreFound: what is left to SSSD does not
// hide what is meant for us.
func TestBesideSSSDMistakesInOurSectionsAreFound(t *testing.T) {
	t.Parallel()
	s := newSystemOf(t, besideForm(), "[sssd]\nservices = nss\n[kcm]\nmax_uid_ccache = 3\n[secret]\nx = 1\n")
	out := s.shFails(user(os.Getuid()), `"$TOOL" --root "$ROOT" config-check`)
	expect(t, out, "Did you mean 'max_uid_ccaches'", "[secrets]")
	if err := exec.Command(s.bin+"/"+s.form.Monitor, "--genconf", "--root", s.root).Run(); err == nil {
		t.Error("the configuration is committed all the same")
	}
}
