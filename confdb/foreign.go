package confdb

import (
	"slices"
	"strings"
)

// foreignSections are the sections of SSSD (sssd.conf(5), 1.16 to 2.14) that a
// schema need not declare: a file with them is right, whoever serves them. SSSD
// 2.13 added prompting/oauth2 to the kinds of prompts; the next ones are let
// pass as well.
var foreignSections = []string{
	"sssd", "nss", "pam", "sudo", "autofs", "ssh", "pac", "ifp", "kcm", "session_recording",
	"secrets", "secrets/secrets", "secrets/kcm", "secrets/users/*",
	"domain/*", "domain/*/*", "application/*", "certmap/*/*",
	"prompting/*", "prompting/*/*",
}

// namedSections begin the sections that carry a name. In the name SSSD's
// config-check allows neither '@' nor a backslash.
var namedSections = []string{"domain", "application", "certmap", "prompting"}

// foreignServices are the responders that the services option of SSSD takes.
var foreignServices = []string{"nss", "pam", "sudo", "autofs", "ssh", "pac", "ifp"}

// serviceOptions are what SSSD takes in the section of every service.
var serviceOptions = []string{
	"debug", "debug_level", "debug_timestamps", "debug_microseconds", "debug_to_files", "debug_backtrace_enabled",
	"command", "reconnection_retries", "fd_limit", "client_idle_timeout", "description", "timeout",
}

// foreignOptions are, by section, the further options of SSSD in sections
// that a schema may close: those of every version from 1.16 to 2.14.
var foreignOptions = map[string][]string{
	"sssd": {
		"services", "domains", "sbus_timeout", "re_expression", "full_name_format", "krb5_rcache_dir", "user",
		"default_domain_suffix", "certificate_verification", "override_space", "config_file_version", "disable_netlink",
		"enable_files_domain", "domain_resolution_order", "try_inotify", "monitor_resolv_conf", "implicit_pac_responder",
		"core_dumpable", "passkey_verification",
	},
	"kcm": {
		"socket_path", "ccache_storage", "responder_idle_timeout", "max_ccaches", "max_uid_ccaches", "max_ccache_size",
		"tgt_renewal", "tgt_renewal_inherit", "krb5_lifetime", "krb5_renewable_lifetime", "krb5_renew_interval",
		"krb5_validate", "krb5_canonicalize", "krb5_auth_timeout",
	},
	"secrets": {
		"provider", "containers_nest_level", "max_secrets", "max_uid_secrets", "max_payload_size", "responder_idle_timeout",
	},
	"secrets/secrets": {"containers_nest_level", "max_secrets", "max_uid_secrets", "max_payload_size"},
	"secrets/kcm":     {"containers_nest_level", "max_secrets", "max_uid_secrets", "max_payload_size"},
	"secrets/users/*": {
		"provider", "proxy_url", "auth_type", "auth_header_name", "auth_header_value", "forward_headers", "username", "password",
		"verify_peer", "verify_host", "capath", "cacert", "cert", "key",
	},
}

// isForeignSection reports whether SSSD knows a section called name.
func isForeignSection(name string) bool {
	return !isBadlyNamed(name) &&
		slices.ContainsFunc(foreignSections, func(pattern string) bool { return matchName(pattern, name) })
}

// isBadlyNamed reports whether the name that a section carries is one that
// SSSD's config-check does not allow.
func isBadlyNamed(name string) bool {
	kind, rest, found := strings.Cut(name, "/")
	return found && containsFold(namedSections, kind) && strings.ContainsAny(rest, `@\`)
}

// foreignKeys returns the options that SSSD knows in a section, as far as
// they are listed here.
func foreignKeys(section string) []string {
	more, listed := foreignOptions[strings.ToLower(section)]
	if !listed || strings.Contains(section, "/") {
		return more
	}
	return slices.Concat(serviceOptions, more)
}

// secretMarks are parts of the names of options whose values are secrets.
var secretMarks = []string{"authtok", "password", "passwd", "secret", "token", "auth_header_value"}

// isSecretKey reports whether an option that nothing declares, such as
// ldap_default_authtok, is likely to hold a secret.
func isSecretKey(key string) bool {
	return slices.ContainsFunc(secretMarks, func(mark string) bool { return strings.Contains(strings.ToLower(key), mark) })
}

// containsFold reports whether list contains text without regard to case.
func containsFold(list []string, text string) bool {
	return slices.ContainsFunc(list, func(element string) bool { return strings.EqualFold(element, text) })
}
