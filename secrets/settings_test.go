package secrets

import (
	"reflect"
	"testing"

	"gosssd/confdb"
)

func resolve(t *testing.T, values map[string]map[string]string) Settings {
	t.Helper()
	conf, err := confdb.NewSnapshot(confdb.Schema(Descriptor().Sections), values)
	if err != nil {
		t.Fatal(err)
	}
	return Resolve(conf)
}

func TestQuotasAreLayered(t *testing.T) {
	s := resolve(t, map[string]map[string]string{
		"secrets":         {"max_secrets": "10", "max_uid_secrets": "5", "containers_nest_level": "1"},
		"secrets/secrets": {"max_secrets": "20", "max_payload_size": "0"},
		"secrets/kcm":     {"max_uid_secrets": "7"},
	})
	if want := (Quota{NestLevel: 1, Secrets: 20, UIDSecrets: 5, Payload: 0}); s.Users != want {
		t.Errorf("users have %+v, want %+v", s.Users, want)
	}
	if want := (Quota{NestLevel: 4, UIDSecrets: 7}); s.KCM != want {
		t.Errorf("kcm has %+v, want %+v", s.KCM, want)
	}
	if got := s.Users.PayloadLimit(); got != MaxPayload {
		t.Errorf("a payload without limit may have %d bytes, not what can be held", got)
	}
	if got := (Quota{Payload: 1 << 20}).PayloadLimit(); got != 1<<20 {
		t.Errorf("a payload of 1 MiB may have %d bytes", got)
	}
}

func TestProxiesAreOfSingleUsers(t *testing.T) {
	s := resolve(t, map[string]map[string]string{
		"secrets":            {"cacert": "/ca", "verify_host": "false", "password": "p"},
		"secrets/users/1000": {"provider": "Proxy", "proxy_url": "https://x/", "verify_host": "true", "forward_headers": "a, b"},
		"secrets/users/1001": {"proxy_url": "https://x/"},
		"secrets/users/me":   {"provider": "proxy"},
	})
	want := map[uint32]Proxy{1000: {
		URL: "https://x/", CACert: "/ca", Password: "p", VerifyPeer: true, VerifyHost: true, ForwardHeaders: []string{"a", "b"},
	}}
	if !reflect.DeepEqual(s.Proxies, want) {
		t.Errorf("proxies %+v", s.Proxies)
	}
	if !reflect.DeepEqual(s.Unnamed, []string{"secrets/users/me"}) {
		t.Errorf("sections without a UID: %q", s.Unnamed)
	}
}

// TestAGlobalProxyKeepsSecretsHere guards that users never share one place at
// a server because of an option that SSSD takes.
func TestAGlobalProxyKeepsSecretsHere(t *testing.T) {
	s := resolve(t, map[string]map[string]string{"secrets": {"provider": "proxy", "proxy_url": "https://x/"}, "secrets/users/1000": {}})
	if len(s.Proxies) != 0 {
		t.Errorf("proxies %+v", s.Proxies)
	}
}

func TestEveryOptionIsExplained(t *testing.T) {
	for _, section := range Descriptor().Sections {
		for _, option := range section.Options {
			if option.Text == "" {
				t.Errorf("[%s] %s has no text", section.Name, option.Key)
			}
			if err := option.Check(option.Default); err != nil {
				t.Errorf("[%s] %s: the default is refused: %v", section.Name, option.Key, err)
			}
		}
	}
}
