package responders

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gosssd/confdb"
	"gosssd/responder"
)

// ofSSSD are the options that SSSD's own list of rules (cfg_rules.ini of 1.16
// and of 2.14) or its code allows in the sections that are served here, and in
// [sssd]. The options of every service come first.
var ofSSSD = map[string]string{
	"every service": "debug debug_level debug_timestamps debug_microseconds debug_to_files debug_backtrace_enabled command " +
		"reconnection_retries fd_limit client_idle_timeout description",
	"sssd": "services domains timeout sbus_timeout re_expression full_name_format krb5_rcache_dir user default_domain_suffix " +
		"certificate_verification override_space config_file_version disable_netlink enable_files_domain domain_resolution_order " +
		"try_inotify monitor_resolv_conf implicit_pac_responder core_dumpable passkey_verification",
	"kcm": "timeout socket_path ccache_storage responder_idle_timeout max_ccaches max_uid_ccaches max_ccache_size tgt_renewal " +
		"tgt_renewal_inherit krb5_lifetime krb5_renewable_lifetime krb5_renew_interval krb5_validate krb5_canonicalize krb5_auth_timeout",
	"secrets":         "timeout containers_nest_level max_secrets max_uid_secrets max_payload_size responder_idle_timeout provider",
	"secrets/secrets": "containers_nest_level max_secrets max_uid_secrets max_payload_size",
	"secrets/kcm":     "containers_nest_level max_secrets max_uid_secrets max_payload_size",
	"secrets/users/1": "provider proxy_url auth_type auth_header_name auth_header_value forward_headers username password verify_peer " +
		"verify_host capath cacert cert key",
}

// valued are options whose value must be more than a number.
var valued = map[string]string{
	"debug_timestamps": "TRUE", "debug_microseconds": "False", "debug_backtrace_enabled": "true", "verify_peer": "true", "verify_host": "true",
	"command": "/bin/true", "socket_path": "/run/x", "ccache_storage": "secdb", "services": "nss, PAM", "provider": "proxy",
	"auth_type": "header", "capath": "/etc", "cacert": "/dev/null", "cert": "/dev/null", "key": "/dev/null", "proxy_url": "http://x/",
	"krb5_lifetime": "1h", "tgt_renewal": "TRUE",
}

// TestEveryOptionOfSSSDIsKnown guards that none of them keeps sssd from
// starting, or is a mistake for config-check.
func TestEveryOptionOfSSSDIsKnown(t *testing.T) {
	var conf strings.Builder
	for _, section := range []string{"sssd", "kcm", "secrets", "secrets/secrets", "secrets/kcm", "secrets/users/1"} {
		conf.WriteString("[" + section + "]\n")
		keys := ofSSSD[section]
		if !strings.Contains(section, "/") {
			keys += " " + ofSSSD["every service"]
		}
		for key := range strings.FieldsSeq(keys) {
			value := valued[key]
			if value == "" {
				value = "1"
			}
			conf.WriteString(key + " = " + value + "\n")
		}
	}
	findings := load(t, conf.String())
	for _, finding := range findings {
		if finding.Kind.Counts() {
			t.Errorf("%s", finding)
		}
	}
	if len(findings) == 0 || len(load(t, conf.String()+"no_option = 1\n")) == len(findings) {
		t.Error("nothing is ever found; the test shows nothing")
	}
}

// TestEverySectionOfSSSDIsKnown does the same for sections, with an option that
// only a later version may have.
func TestEverySectionOfSSSDIsKnown(t *testing.T) {
	for section := range strings.FieldsSeq("nss pam sudo autofs ssh pac ifp session_recording prompting/password prompting/password/sshd " +
		"prompting/2fa prompting/2fa/sshd prompting/passkey prompting/passkey/sshd prompting/oauth2 prompting/oauth2/sshd " +
		"domain/a domain/a/b application/a certmap/a/b") {
		for _, finding := range load(t, "["+section+"]\nan_option_of_tomorrow = 1\n") {
			if finding.Kind.Loud() {
				t.Errorf("%s", finding)
			}
		}
	}
}

func load(t *testing.T, text string) []confdb.Finding {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sssd.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := confdb.Load(confdb.Sources{File: file, SnippetDir: filepath.Dir(file) + "/none", OwnerUID: uint32(os.Getuid())}, responder.Schema(List()))
	if err != nil {
		t.Fatal(err)
	}
	return config.Findings
}
