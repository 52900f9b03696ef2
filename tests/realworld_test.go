package tests

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestTheConfigurationOfAnADJoinedHostWorks guards that an sssd.conf as it is
// found on real machines serves here: what is of other services is told once
// and left alone.
func TestTheConfigurationOfAnADJoinedHostWorks(t *testing.T) {
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
		"[domain/corp.example.com] 42 options are not served by this build: ")
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
