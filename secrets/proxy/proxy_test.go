package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gosssd/secrets"
	"gosssd/tests/custodia"
)

// plain starts a server without TLS and returns a configuration for it.
func plain(t *testing.T, handler http.Handler) secrets.Proxy {
	t.Helper()
	return secrets.Proxy{URL: custodia.Start(t, handler), VerifyPeer: true, VerifyHost: true}
}

// secure starts a server with a certificate for a host.
func secure(t *testing.T, issuer *custodia.Authority, host string, clients *custodia.Authority) secrets.Proxy {
	t.Helper()
	return secrets.Proxy{URL: custodia.StartTLS(t, custodia.New(), issuer, host, clients), VerifyPeer: true, VerifyHost: true}
}

// forward sends one request through a proxy.
func forward(t *testing.T, config secrets.Proxy, method, path string, header http.Header, body []byte) (*httptest.ResponseRecorder, error) {
	t.Helper()
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer p.transport.CloseIdleConnections()
	r := httptest.NewRequest(method, "http://localhost/secrets/"+path, bytes.NewReader(body))
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	err = p.Forward(w, r, strings.SplitN(path, "?", 2)[0])
	return w, err
}

func TestSecretsAreKeptAtTheServer(t *testing.T) {
	server := custodia.New()
	config := plain(t, server)
	value := []byte("binary\x00\xff\x1f\x8b")
	for _, step := range []struct {
		method, path string
		body         []byte
		status       int
	}{
		{"GET", "a", nil, 404},
		{"PUT", "a", value, 201},
		{"PUT", "a", value, 409},
		{"GET", "a", nil, 200},
		{"POST", "c/", nil, 201},
		{"PUT", "c/x%20y", value, 201},
		{"GET", "c/x%20y?type=simple", nil, 200},
		{"DELETE", "a", nil, 204},
		{"GET", "a", nil, 404},
	} {
		answer, err := forward(t, config, step.method, step.path, nil, step.body)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.Code != step.status {
			t.Errorf("%s %s: %d, %v", step.method, step.path, answer.Code, err)
		}
		if step.status == 200 && (!bytes.Equal(body, value) || answer.Header().Get("X-Custodia") != "kept") {
			t.Errorf("%s %s: %q, %v", step.method, step.path, body, answer.Header())
		}
	}
	if query := server.Seen()[6].URL.RawQuery; query != "type=simple" {
		t.Errorf("the query became %q", query)
	}
}

func TestOnlyListedHeadersAreForwarded(t *testing.T) {
	server := custodia.New()
	config := plain(t, server)
	config.ForwardHeaders = []string{"x-one", "X-Absent"}
	config.AuthType, config.HeaderName, config.HeaderValue = "header", "X-Token", "token"
	header := http.Header{"Content-Type": {"application/json"}, "X-One": {"1", "2"}, "X-Two": {"3"}, "X-Token": {"forged"}, "Authorization": {"forged"}, "Cookie": {"c"}}
	if _, err := forward(t, config, "PUT", "a", header, []byte("v")); err != nil {
		t.Fatal(err)
	}
	seen := server.Seen()[0]
	for name, expected := range map[string]string{"Content-Type": "application/json", "X-One": "1,2", "X-Two": "", "X-Token": "token", "Authorization": "", "Cookie": "", "User-Agent": ""} {
		if value := strings.Join(seen.Header.Values(name), ","); value != expected {
			t.Errorf("%s is %q, want %q", name, value, expected)
		}
	}
	if seen.ContentLength != 1 {
		t.Errorf("Content-Length %d", seen.ContentLength)
	}
}

func TestBasicAuthentication(t *testing.T) {
	server := custodia.New()
	server.Authenticate = func(r *http.Request) bool {
		name, password, ok := r.BasicAuth()
		return ok && name == "me" && password == "secret:word"
	}
	config := plain(t, server)
	if answer, err := forward(t, config, "GET", "a", nil, nil); err != nil || answer.Code != 403 {
		t.Errorf("without: %v, %v", answer, err)
	}
	config.AuthType, config.Username, config.Password = "basic_auth", "me", "secret:word"
	if answer, err := forward(t, config, "GET", "a", nil, nil); err != nil || answer.Code != 404 {
		t.Errorf("with: %v, %v", answer, err)
	}
}

func TestRedirectsAreAnsweredAndNotFollowed(t *testing.T) {
	followed := false
	config := plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed = true
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	}))
	answer, err := forward(t, config, "GET", "a", nil, nil)
	if err != nil || answer.Code != http.StatusFound || answer.Header().Get("Location") != "/elsewhere" || followed {
		t.Errorf("answer %v, %v, followed %v", answer, err, followed)
	}
}

func TestHeadersOfTheConnectionStayThere(t *testing.T) {
	config := plain(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("X-End", "2")
		if r.Header.Get("Upgrade") != "" || r.Header.Get("X-Forwarded-For") != "" || r.Host == "localhost" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	answer, err := forward(t, config, "GET", "a", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h := answer.Header(); answer.Code != 200 || h.Get("X-Hop") != "" || h.Get("Keep-Alive") != "" || h.Get("Date") != "" || h.Get("X-End") != "2" {
		t.Errorf("answer %d %v", answer.Code, h)
	}
}

func TestASlowServerIsADeadlineExceeded(t *testing.T) {
	release := make(chan struct{})
	config := plain(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer close(release)
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	p.timeout = 20 * time.Millisecond
	err = p.Forward(httptest.NewRecorder(), httptest.NewRequest("GET", "/secrets/nameofasecret", nil), "nameofasecret")
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "nameofasecret") {
		t.Errorf("error %v", err)
	}
}

func TestCertificatesAreVerified(t *testing.T) {
	ours, foreign := custodia.NewAuthority(t, "ours"), custodia.NewAuthority(t, "foreign")
	for name, c := range map[string]struct {
		issuer     *custodia.Authority
		host       string
		peer, name bool
		fails      bool
	}{
		"the right authority and host":           {ours, "127.0.0.1", true, true, false},
		"another authority":                      {foreign, "127.0.0.1", true, true, true},
		"another host":                           {ours, "example.org", true, true, true},
		"another host, which is not verified":    {ours, "example.org", true, false, false},
		"another authority, but only the host":   {foreign, "127.0.0.1", false, true, false},
		"another host, but only the host":        {ours, "example.org", false, true, true},
		"another authority, though not the host": {foreign, "127.0.0.1", true, false, true},
		"nothing is verified":                    {foreign, "example.org", false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			config := secure(t, c.issuer, c.host, nil)
			config.CACert, config.VerifyPeer, config.VerifyHost = ours.File, c.peer, c.name
			answer, err := forward(t, config, "GET", "a", nil, nil)
			if failed := err != nil; failed != c.fails || !failed && answer.Code != 404 {
				t.Errorf("answer %v, %v", answer, err)
			}
			config.CACert, config.CAPath = "", filepath.Dir(ours.File)
			if _, err := forward(t, config, "GET", "a", nil, nil); (err != nil) != c.fails {
				t.Errorf("with capath: %v", err)
			}
		})
	}
}

func TestClientCertificatesAreShown(t *testing.T) {
	ca := custodia.NewAuthority(t, "ours")
	config := secure(t, ca, "127.0.0.1", ca)
	config.CACert = ca.File
	if _, err := forward(t, config, "GET", "a", nil, nil); err == nil {
		t.Error("without a certificate the server answered")
	}
	cert, key, both := ca.Issue(t, "client")
	config.Cert, config.Key = cert, key
	if answer, err := forward(t, config, "GET", "a", nil, nil); err != nil || answer.Code != 404 {
		t.Errorf("with two files: %v, %v", answer, err)
	}
	config.Cert, config.Key = both, ""
	if answer, err := forward(t, config, "GET", "a", nil, nil); err != nil || answer.Code != 404 {
		t.Errorf("with one file: %v, %v", answer, err)
	}
}

func TestWhatCannotWorkIsRefused(t *testing.T) {
	for name, config := range map[string]secrets.Proxy{
		"no URL":                   {},
		"a URL of another scheme":  {URL: "ftp://server/"},
		"a URL without a host":     {URL: "https:///path"},
		"a URL with a query":       {URL: "https://server/?q"},
		"no URL at all":            {URL: "https://me:password@ser ver/%"},
		"no password":              {URL: "https://server/", AuthType: "basic_auth", Username: "me"},
		"no header":                {URL: "https://server/", AuthType: "header", HeaderValue: "v"},
		"a missing cacert":         {URL: "https://server/", CACert: "/nonexistent"},
		"a missing capath":         {URL: "https://server/", CAPath: "/nonexistent"},
		"a missing cert":           {URL: "https://server/", Cert: "/nonexistent"},
		"a cacert that is not one": {URL: "https://server/", CACert: "proxy_test.go"},
	} {
		if _, err := New(config); err == nil || strings.Contains(err.Error(), "password@") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
