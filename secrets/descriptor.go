// Package secrets declares the secrets responder: its place in sssd.conf, its
// options and what they resolve to. The working parts are in its sub-packages:
// the encrypted store in vault, the HTTP service in rest, forwarding to a
// Custodia server in proxy, and the client of the kcm hive in client.
package secrets

import (
	"gosssd/confdb"
	"gosssd/responder"
)

// Descriptor describes the secrets responder to the monitor and the loader.
func Descriptor() responder.Descriptor {
	return responder.Descriptor{
		Name:       "secrets",
		Socket:     "/var/run/secrets.socket",
		SocketMode: 0o666,
		Check:      checkProxies,
		Refusal:    refusal,
		Probe:      probe(),
		Sections: []confdb.Section{
			{
				Name:    "secrets",
				Text:    "The secrets responder. Quotas set here hold for the users' secrets, proxy options are defaults of every [secrets/users/UID].",
				Options: join(globalProvider(), userQuotas(), proxyOptions()),
			},
			{
				Name:    "secrets/secrets",
				Text:    "Quotas of the users' own secrets; they win over the same options in [secrets].",
				Options: userQuotas(),
			},
			{
				Name:    "secrets/kcm",
				Text:    "Quotas of the Kerberos credential caches kept here for sssd_kcm, on top of those of [kcm]. [secrets] does not reach them.",
				Options: kcmQuotas(),
			},
			{
				Name:     "secrets/users/*",
				Numbered: true,
				Text:     "Where the secrets of one user, named by UID, are kept.",
				Options:  join(userProvider(), proxyOptions()),
			},
		},
	}
}

func join(lists ...[]confdb.Option) []confdb.Option {
	var all []confdb.Option
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

func userQuotas() []confdb.Option { return quotaOptions("4", "1024", "256", "16") }

// kcmQuotas are without limits by default: those of [kcm] hold wherever caches
// are kept, and one that is raised there need not be raised here too.
func kcmQuotas() []confdb.Option { return quotaOptions("4", "0", "0", "0") }

func quotaOptions(nest, all, perUser, payload string) []confdb.Option {
	return []confdb.Option{
		{Key: "containers_nest_level", Kind: confdb.Int, Default: nest, Live: true,
			Text: "How deep containers may be nested; 0 means no limit."},
		{Key: "max_secrets", Kind: confdb.Int, Default: all, Live: true,
			Text: "How many secrets all users together may store; 0 means no limit."},
		{Key: "max_uid_secrets", Kind: confdb.Int, Default: perUser, Live: true,
			Text: "How many secrets one user may store, and how many containers; 0 means no limit."},
		{Key: "max_payload_size", Kind: confdb.Int, Default: payload, Unit: "KiB", Max: maxPayloadKiB, Clamp: true, Live: true,
			Text: "How large one secret may be; 0 means no limit but the largest value."},
	}
}

// maxPayloadKiB is the largest secret the service takes at all: a secret is
// held in memory whole while it is sealed.
const maxPayloadKiB = 256 << 10

func globalProvider() []confdb.Option {
	return []confdb.Option{{
		Key: "provider", Kind: confdb.Word, Words: []string{"local", "proxy"}, Default: "local", Live: true,
		Text:      "Where secrets are kept, unless [secrets/users/UID] says otherwise.",
		NotServed: "all users would share one place at the Custodia server; choose it for each user in [secrets/users/UID]; the secrets of others are kept here",
		Missed:    true,
	}}
}

func userProvider() []confdb.Option {
	return []confdb.Option{{
		Key: "provider", Kind: confdb.Word, Words: []string{"local", "proxy"}, Default: "local", Live: true,
		Text: "Where the secrets of this user are kept: here (local), or at a Custodia server (proxy).",
	}}
}

func proxyOptions() []confdb.Option {
	return []confdb.Option{
		{Key: "proxy_url", Kind: confdb.String, Live: true,
			Text: "The http or https URL of the Custodia server; the path of the secret is appended."},
		{Key: "auth_type", Kind: confdb.Word, Words: []string{"basic_auth", "header"}, Live: true,
			Text: "How to authenticate at the Custodia server; not at all if unset."},
		{Key: "auth_header_name", Kind: confdb.String, Live: true,
			Text: "The header to send with auth_type = header."},
		{Key: "auth_header_value", Kind: confdb.String, Secret: true, Live: true,
			Text: "The value of that header."},
		{Key: "forward_headers", Kind: confdb.List, Live: true,
			Text: "The client's headers to forward besides Content-Type and Content-Length."},
		{Key: "username", Kind: confdb.String, Live: true,
			Text: "The name to send with auth_type = basic_auth."},
		{Key: "password", Kind: confdb.String, Secret: true, Live: true,
			Text: "The password to send with auth_type = basic_auth."},
		{Key: "verify_peer", Kind: confdb.Bool, Default: "true", Live: true,
			Text: "Whether the server's certificate must come from a trusted authority."},
		{Key: "verify_host", Kind: confdb.Bool, Default: "true", Live: true,
			Text: "Whether the server's certificate must be for the host in proxy_url."},
		{Key: "capath", Kind: confdb.Path, Live: true,
			Text: "A directory of certificates of trusted authorities, instead of the system's."},
		{Key: "cacert", Kind: confdb.Path, Live: true,
			Text: "A file of certificates of trusted authorities, instead of the system's."},
		{Key: "cert", Kind: confdb.Path, Live: true,
			Text: "A file with the certificate to authenticate with."},
		{Key: "key", Kind: confdb.Path, Live: true,
			Text: "A file with the private key of cert, if it is not in the same file."},
	}
}
