package rest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOneUsersSecretsAreElsewhere(t *testing.T) {
	var paths []string
	custodia := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.EscapedPath())
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusTeapot)
		w.Write([]byte("from elsewhere"))
	}))
	defer custodia.Close()
	s := serve(t, sections{
		"secrets/users/1000": {"provider": "proxy", "proxy_url": custodia.URL + "/x/"},
		"secrets/users/1001": {"provider": "proxy", "auth_header_value": "valueofasecret"},
	})
	header := http.Header{"Content-Type": {"text/other"}}
	if r := s.do(t, call{as: 1000, method: "GET", path: "/secrets/a/b%20c", header: header}); r.status != http.StatusTeapot || r.body != "from elsewhere" {
		t.Errorf("answer %+v", r)
	}
	for status, c := range map[int]call{
		400: {as: 1000, method: "PATCH", path: "/secrets/a", header: header},
		404: {as: 1002, method: "GET", path: "/secrets/a", header: http.Header{"Content-Type": {jsonType}}},
		500: {as: 1001, method: "GET", path: "/secrets/a", header: header},
		413: {as: 1000, method: "PUT", path: "/secrets/a", header: header, body: make([]byte, 1<<20)},
	} {
		if r := s.do(t, c); r.status != status {
			t.Errorf("%s %s as %d: %d, want %d", c.method, c.path, c.as, r.status, status)
		}
	}
	if len(paths) != 1 || paths[0] != "/x/a/b%20c" {
		t.Errorf("the server was asked for %q", paths)
	}
	if log := s.logged.String(); strings.Contains(log, "valueofasecret") || !strings.Contains(log, "proxy_url is not set") {
		t.Errorf("log %s", log)
	}
	custodia.Close()
	if r := s.do(t, call{as: 1000, method: "GET", path: "/secrets/a", header: header}); r.status != 500 {
		t.Errorf("without a server: %d", r.status)
	}
}
