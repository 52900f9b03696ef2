package tests

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// The scenarios of SSSD 1.16's integration tests of the secrets service, run
// against the programs. Ten clients at once and the idle one have tests of
// their own.

// rest asks the secrets service as the user of the tests.
type rest struct {
	t    *testing.T
	http http.Client
}

func (s *system) rest(t *testing.T) *rest {
	dial := func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", s.path("/var/run/secrets.socket"))
	}
	r := &rest{t: t, http: http.Client{Transport: &http.Transport{DialContext: dial}}}
	t.Cleanup(r.http.CloseIdleConnections)
	return r
}

const (
	asJSON   = "application/json"
	asOctets = "application/octet-stream"
)

// do sends "METHOD path body" and returns the body of the answer, whose status
// must be want.
func (r *rest) do(want int, form, request string) string {
	r.t.Helper()
	parts := append(strings.SplitN(request, " ", 3), "")
	body := parts[2]
	if form == asJSON && body != "" {
		body = `{"type":"simple","value":"` + body + `"}`
	}
	q, err := http.NewRequest(parts[0], "http://localhost/secrets/"+parts[1], strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	q.Header.Set("Content-Type", form)
	answer, err := r.http.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if answer.StatusCode != want {
		r.t.Errorf("%.80s: %d, want %d", request, answer.StatusCode, want)
	}
	return string(b)
}

func (r *rest) put(want int, name string, size int) {
	r.t.Helper()
	r.do(want, asOctets, "PUT "+name+" "+strings.Repeat("x", size))
}

func TestSecretsScenarioCreateReadDelete(t *testing.T) {
	t.Parallel()
	r := newSystem(t, defaults).start().rest(t)
	for form, value := range map[string]string{asJSON: "{\n    \"type\": \"simple\",\n    \"value\": \"bar\"\n}", asOctets: "bar"} {
		// A list is JSON in any case.
		r.do(404, asJSON, "GET ")
		r.do(404, form, "GET foo")
		r.do(200, form, "PUT foo bar")
		if got := r.do(200, form, "GET foo"); got != value {
			t.Errorf("%s: foo is %q", form, got)
		}
		if got := r.do(200, asJSON, "GET "); got != "[\n    \"foo\"\n]" {
			t.Errorf("%s: the list is %s", form, got)
		}
		r.do(409, form, "PUT foo baz")
		r.do(200, form, "DELETE foo")
		r.do(404, form, "GET foo")
		r.do(404, form, "DELETE foo")
		r.do(200, form, "POST mycontainer/")
		r.do(200, form, "PUT mycontainer/foo bar")
		if got := r.do(200, asJSON, "GET mycontainer/"); got != "[\n    \"foo\"\n]" {
			t.Errorf("%s: the list of the container is %s", form, got)
		}
		if got := r.do(200, form, "GET mycontainer/foo"); got != value {
			t.Errorf("%s: mycontainer/foo is %q", form, got)
		}
		r.do(200, form, "DELETE mycontainer/foo")
		r.do(200, form, "DELETE mycontainer/")
	}
}

func TestSecretsScenarioContainers(t *testing.T) {
	t.Parallel()
	r := newSystem(t, defaults).start().rest(t)
	r.do(400, asJSON, "POST mycontainer")
	r.do(200, asJSON, "POST mycontainer/")
	r.do(200, asJSON, "PUT mycontainer/foo bar")
	r.do(200, asJSON, "GET mycontainer/foo")
	r.do(409, asJSON, "DELETE mycontainer/")
	r.do(200, asJSON, "DELETE mycontainer/foo")
	r.do(200, asJSON, "DELETE mycontainer/")
	path := ""
	for level := range 4 {
		path += fmt.Sprintf("level%d/", level)
		r.do(200, asJSON, "POST "+path)
	}
	r.do(406, asJSON, "POST "+path+"level4/")
}

// TestSecretsScenarioQuotas: the options of the hive win over those of the
// service.
func TestSecretsScenarioQuotas(t *testing.T) {
	t.Parallel()
	for name, conf := range map[string]string{
		"of the service": "[secrets]\nmax_secrets = 10\nmax_payload_size = 2\n",
		"of the hive":    "[secrets]\nmax_secrets = 1\nmax_payload_size = 1\n[secrets/secrets]\nmax_secrets = 10\nmax_payload_size = 2\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newSystem(t, conf).start().rest(t)
			for i := range 10 {
				r.put(200, fmt.Sprint("foo", i), 3)
			}
			r.put(507, "foo10", 3)
			r.do(200, asOctets, "DELETE foo0")
			r.put(413, "foo10", 2<<10+1)
			r.put(200, "foo10", 2<<10)
			r.put(507, "foo11", 3)
		})
	}
}

func TestSecretsScenarioQuotaOfOneUser(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[secrets/secrets]\nmax_secrets = 10\nmax_uid_secrets = 5\n").start()
	r := s.rest(t)
	for i := range 5 {
		r.put(200, fmt.Sprint("foo", i), 3)
	}
	r.put(507, "foo5", 3)
	left := 5
	for _, u := range everybody()[1:] { // others are not affected, until all have used up theirs
		out := s.sh(u, `for i in 0 1 2 3 4 5; do `+curl+`-o /dev/null -X PUT -d "{\"type\":\"simple\",\"value\":\"x\"}" http://localhost/secrets/foo$i; done`)
		if want := strings.Repeat("200\n", left) + strings.Repeat("507\n", 6-left); out != want {
			t.Errorf("uid %d: %q, want %q", u, out, want)
		}
		left = 0
	}
	r.do(200, asOctets, "DELETE foo0")
	r.put(200, "foo5", 3)
}

func TestSecretsScenarioNoLimits(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[secrets/secrets]\nmax_secrets = 0\nmax_uid_secrets = 0\nmax_payload_size = 0\ncontainers_nest_level = 0\n").start()
	r := s.rest(t)
	for i := range 2048 {
		r.put(200, fmt.Sprint("foo", i), 3)
	}
	r.put(200, "large", 32<<10)
	if got := r.do(200, asOctets, "GET large"); len(got) != 32<<10 {
		t.Errorf("large has %d bytes", len(got))
	}
	path := ""
	for range 128 {
		path += "d/"
		r.do(200, asJSON, "POST "+path)
	}
	if got := r.do(200, asJSON, "GET "); strings.Count(got, "foo") != 2048 {
		t.Errorf("the list names %d of 2048 secrets", strings.Count(got, "foo"))
	}
}

// TestSecretsScenarioQuotaOfCaches: that secrets do not take the place of caches
// is in TestFullSecretsOfAUserDoNotKeepTicketsOut.
func TestSecretsScenarioQuotaOfCaches(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[secrets/kcm]\nmax_uid_secrets = 3\n").start()
	me, kcm := fmt.Sprint(os.Getuid()), s.kcm()
	for i := range 3 {
		if err := kcm.Initialize(fmt.Sprint(me, ":", i), principal("alice")); err != nil {
			t.Errorf("cache %d: %v", i, err)
		}
	}
	if err := kcm.Initialize(me+":3", principal("alice")); err == nil {
		t.Error("a cache too many is made")
	}
	s.rest(t).put(200, "foo", 3)
}
