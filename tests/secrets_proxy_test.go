package tests

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"gosssd/tests/custodia"
)

// TestOneUsersSecretsAreKeptByACustodiaServer has the server on HTTPS, with
// certificates of both sides and a token.
func TestOneUsersSecretsAreKeptByACustodiaServer(t *testing.T) {
	t.Parallel()
	needProgram(t, "curl")
	const token = "tokenoftheservice"
	remote := custodia.New()
	remote.Authenticate = func(r *http.Request) bool { return r.Header.Get("X-Token") == token }
	ca := custodia.NewAuthority(t, "ours")
	cert, key, _ := ca.Issue(t, "sssd")
	me := user(os.Getuid())
	s := newSystem(t, fmt.Sprintf(`[sssd]
[secrets]
debug_level = 9
[secrets/users/%d]
provider = proxy
proxy_url = %s
auth_type = header
auth_header_name = X-Token
auth_header_value = %s
forward_headers = X-Trace
cacert = %s
cert = %s
key = %s
`, me, custodia.StartTLS(t, remote, ca, "127.0.0.1", ca), token, ca.File, cert, key)).start()

	octets := `curl -s --unix-socket "$ROOT/var/run/secrets.socket" -H "Content-Type: application/octet-stream" -H "X-Trace: 7" -w '%{http_code}\n' `
	for _, step := range []struct{ request, answer string }{
		{`http://localhost/secrets/nameofasecret`, "no such secret\n404\n"},
		{`-X POST http://localhost/secrets/box/`, "201\n"},
		{`-X PUT http://localhost/secrets/box/nameofasecret --data-binary 'valueofasecret'`, "201\n"},
		{`-X PUT http://localhost/secrets/box/nameofasecret --data-binary 'another'`, "already there\n409\n"},
		{`http://localhost/secrets/box/nameofasecret`, "valueofasecret200\n"},
		{`http://localhost/secrets/box/`, "[\"nameofasecret\"]\n200\n"},
		{`-X DELETE http://localhost/secrets/box/`, "not empty\n409\n"},
		{`-X DELETE http://localhost/secrets/box/nameofasecret`, "204\n"},
		{`-X DELETE http://localhost/secrets/box/`, "204\n"},
	} {
		if got := s.sh(me, octets+step.request); got != step.answer {
			t.Errorf("%s: %q, want %q", step.request, got, step.answer)
		}
	}
	for _, r := range remote.Seen() {
		if r.Header.Get("X-Trace") != "7" || len(r.TLS.PeerCertificates) != 1 {
			t.Errorf("%s %s came with %v", r.Method, r.URL, r.Header)
		}
	}
	asked := len(remote.Seen())

	// Other users' secrets and all caches are in the vault as ever.
	for _, u := range everybody()[1:] {
		if got := s.sh(u, octets+`-o /dev/null -X PUT http://localhost/secrets/a --data-binary x`); got != "200\n" {
			t.Errorf("uid %d: %s", u, got)
		}
	}
	if err := s.kcm().Initialize(fmt.Sprint(me), principal("alice")); err != nil {
		t.Error(err)
	}
	if n := len(remote.Seen()); n != asked {
		t.Errorf("the server was asked %d times more", n-asked)
	}

	log := s.log("sssd_secrets") + s.log("sssd")
	expect(t, log, fmt.Sprintf("uid=%d", me))
	refuse(t, log, token, "nameofasecret", "valueofasecret")
	if got := s.ctl(me, "", "config-show"); strings.Contains(got.stdout, token) || !strings.Contains(got.stdout, "auth_header_value") {
		t.Errorf("the token is shown:\n%s", got.stdout)
	}
}
