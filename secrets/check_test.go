package secrets

import (
	"slices"
	"strings"
	"testing"

	"gosssd/confdb"
)

func TestProxiesThatCannotWorkAreMistakes(t *testing.T) {
	conf, err := confdb.NewSnapshot(confdb.Schema(Descriptor().Sections), map[string]map[string]string{
		"secrets":         {"cacert": "/nonexistent/ca"},
		"secrets/users/1": {"provider": "proxy", "cacert": "/dev/null"},
		"secrets/users/2": {"provider": "proxy", "cacert": "/dev/null", "proxy_url": "ftp://me:pass@x/"},
		"secrets/users/3": {"provider": "proxy", "cacert": "/dev/null", "proxy_url": "http://x/", "auth_type": "header"},
		"secrets/users/4": {"provider": "proxy", "cacert": "/dev/null", "proxy_url": "http://x/"},
		"secrets/users/5": {"proxy_url": "ftp://unused/"},
		"secrets/users/6": {"provider": "proxy", "proxy_url": "http://x/"},
		"secrets/users/7": {"provider": "proxy", "cacert": "/dev/null", "proxy_url": "http://x/", "cert": "/nonexistent/cert"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range Descriptor().Check(conf) {
		got = append(got, m.Section+" "+m.Key+": "+m.Text)
	}
	want := []string{
		"secrets/users/1 provider: no request of this user can be served: proxy_url is not set; it must be the URL of the Custodia server",
		"secrets/users/2 proxy_url: no request of this user can be served: proxy_url is neither an http nor an https URL",
		"secrets/users/3 auth_type: no request of this user can be served: auth_type is header, but auth_header_name or auth_header_value is not set",
		"secrets cacert: /nonexistent/ca: no such file or directory",
		"secrets/users/7 cert: /nonexistent/cert: no such file or directory",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
