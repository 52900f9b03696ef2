package secrets

import (
	"strconv"
	"strings"

	"gosssd/confdb"
)

// Quota limits what a hive takes. In every field 0 means no limit.
type Quota struct {
	NestLevel  int   // containers within containers
	Secrets    int   // secrets of all users
	UIDSecrets int   // secrets of one user
	Payload    int64 // bytes of one secret
}

// MaxPayload is the largest secret, in bytes, that is taken when no quota
// limits it.
const MaxPayload int64 = maxPayloadKiB << 10

// PayloadLimit is the size in bytes above which one secret is refused.
func (q Quota) PayloadLimit() int64 {
	if q.Payload == 0 {
		return MaxPayload
	}
	return q.Payload
}

// Proxy says how the secrets of one user are reached at a Custodia server
// (sssd-secrets(5), provider = proxy).
type Proxy struct {
	URL                     string
	AuthType                string // "", "basic_auth" or "header"
	HeaderName, HeaderValue string // for "header"
	Username, Password      string // for "basic_auth"
	ForwardHeaders          []string
	VerifyPeer, VerifyHost  bool
	CAPath, CACert          string
	Cert, Key               string
}

// Settings is what the sections of the responder resolve to.
type Settings struct {
	Users   Quota            // the hive of the users' own secrets
	KCM     Quota            // the hive of credential caches
	Proxies map[uint32]Proxy // users whose secrets are kept elsewhere
	Unnamed []string         // sections secrets/users/NAME whose NAME is no UID
}

// userPrefix begins the sections of single users.
const userPrefix = "secrets/users/"

// Resolve reads the responder's sections. For the users' quotas an option of
// [secrets/secrets] wins over that of [secrets]; [secrets/kcm] stands alone.
func Resolve(conf *confdb.Snapshot) Settings {
	global := conf.Section("secrets")
	s := Settings{
		Users:   quota(conf.Section("secrets/secrets"), global),
		KCM:     quota(conf.Section("secrets/kcm"), conf.Section("secrets/kcm")),
		Proxies: map[uint32]Proxy{},
	}
	for _, name := range conf.Sections(userPrefix) {
		uid, err := strconv.ParseUint(strings.TrimPrefix(name, userPrefix), 10, 32)
		user := conf.Section(name)
		switch {
		case err != nil:
			s.Unnamed = append(s.Unnamed, name)
		case user.String("provider") == "proxy":
			s.Proxies[uint32(uid)] = proxy(user, global)
		}
	}
	return s
}

// layered reads an option from the first of two sections where it is set.
type layered [2]confdb.View

func (l layered) of(key string) confdb.View {
	if l[0].IsSet(key) {
		return l[0]
	}
	return l[1]
}

func quota(section, fallback confdb.View) Quota {
	l := layered{section, fallback}
	return Quota{
		NestLevel:  int(l.of("containers_nest_level").Int("containers_nest_level")),
		Secrets:    int(l.of("max_secrets").Int("max_secrets")),
		UIDSecrets: int(l.of("max_uid_secrets").Int("max_uid_secrets")),
		Payload:    l.of("max_payload_size").Int("max_payload_size") << 10,
	}
}

func proxy(user, global confdb.View) Proxy {
	l := layered{user, global}
	text := func(key string) string { return l.of(key).String(key) }
	return Proxy{
		URL:            text("proxy_url"),
		AuthType:       text("auth_type"),
		HeaderName:     text("auth_header_name"),
		HeaderValue:    text("auth_header_value"),
		Username:       text("username"),
		Password:       text("password"),
		ForwardHeaders: l.of("forward_headers").List("forward_headers"),
		VerifyPeer:     l.of("verify_peer").Bool("verify_peer"),
		VerifyHost:     l.of("verify_host").Bool("verify_host"),
		CAPath:         text("capath"),
		CACert:         text("cacert"),
		Cert:           text("cert"),
		Key:            text("key"),
	}
}
