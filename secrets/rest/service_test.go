package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"gosssd/responder/metric"
	"gosssd/secrets"
	"gosssd/secrets/vault"
)

func TestSecretsAreStoredListedAndDeleted(t *testing.T) {
	s := serve(t, nil)
	s.expect(t, 404, "GET /secrets/")
	s.expect(t, 200, "PUT /secrets/foo "+secretJSON("bar"))
	if r := s.expect(t, 200, "GET /secrets/foo"); r.body != "{\n    \"type\": \"simple\",\n    \"value\": \"bar\"\n}" || r.header.Get("Content-Type") != jsonType {
		t.Errorf("answer %q, %v", r.body, r.header)
	}
	if r := s.expect(t, 200, "GET /secrets/"); r.body != "[\n    \"foo\"\n]" {
		t.Errorf("list %q", r.body)
	}
	s.expect(t, 409, "PUT /secrets/foo "+secretJSON("baz"))
	s.expect(t, 200, "DELETE /secrets/foo")
	s.expect(t, 404, "GET /secrets/foo")
	s.expect(t, 404, "DELETE /secrets/foo")
}

func TestEveryByteComesBack(t *testing.T) {
	s := serve(t, nil)
	var every [512]byte
	for i := range every {
		every[i] = byte(i)
	}
	header := http.Header{"Content-Type": {octetType}}
	if r := s.do(t, call{as: 5, method: "PUT", path: "/secrets/a", header: header, body: every[:]}); r.status != 200 {
		t.Fatalf("answered %d", r.status)
	}
	r := s.do(t, call{as: 5, method: "GET", path: "/secrets/a", header: header})
	if r.body != string(every[:]) || r.header.Get("Content-Type") != octetType || r.header.Get("Date") != "" {
		t.Errorf("answer %q, %v", r.body, r.header)
	}
	if r := s.do(t, call{as: 5, method: "GET", path: "/secrets/a", header: http.Header{"Content-Type": {jsonType}}}); r.status != 406 {
		t.Errorf("as JSON: %d", r.status)
	}
}

func TestListsNameWhatIsBelow(t *testing.T) {
	s := serve(t, nil)
	for _, request := range []string{"POST /secrets/c/", "POST /secrets/c/d/", "POST /secrets/c2/"} {
		s.expect(t, 200, request)
	}
	for _, name := range []string{"a", "c/b", "c/d/e%20f", "c2/x"} {
		s.expect(t, 200, "PUT /secrets/"+name+" "+secretJSON("<&>"))
	}
	for path, expected := range map[string]string{
		"/secrets/":     "[a c/b c/d/e f c2/x]",
		"/secrets/c/":   "[b d/e f]",
		"/secrets/c/d/": "[e f]",
	} {
		var names []string
		r := s.expect(t, 200, "GET "+path)
		if err := json.Unmarshal([]byte(r.body), &names); err != nil || fmt.Sprint(names) != expected {
			t.Errorf("%s: %v, %v", path, names, err)
		}
	}
	if r := s.expect(t, 200, "GET /secrets/a"); !strings.Contains(r.body, `"<&>"`) {
		t.Errorf("answer %q", r.body)
	}
}

func TestStatusAnswersArePages(t *testing.T) {
	r := serve(t, nil).expect(t, 404, "GET /secrets/a")
	if r.header.Get("Content-Type") != "text/html" || r.header.Get("Date") != "" {
		t.Errorf("headers %v", r.header)
	}
	for _, part := range []string{"<title>404 Not Found</title>", "<h1>Not Found</h1>", "<p>There is nothing of that name.</p>"} {
		if !strings.Contains(r.body, part) {
			t.Errorf("no %q in %q", part, r.body)
		}
	}
}

func TestTheDefaultQuotasAreThoseOfTheManual(t *testing.T) {
	s := serve(t, nil)
	for i := range 256 {
		s.expect(t, 200, fmt.Sprintf("PUT /secrets/%d x", i))
	}
	s.expect(t, 507, "PUT /secrets/more x")
	s.expect(t, 200, "DELETE /secrets/0")
	s.expect(t, 413, "PUT /secrets/more "+strings.Repeat("x", 16<<10+1))
	s.expect(t, 200, "PUT /secrets/more "+strings.Repeat("x", 16<<10))
}

func TestZeroMeansNoLimit(t *testing.T) {
	s := serve(t, sections{"secrets": {"max_secrets": "0", "max_uid_secrets": "0", "max_payload_size": "0", "containers_nest_level": "0"}})
	path := "/secrets/"
	for range 128 {
		path += "d/"
		s.expect(t, 200, "POST "+path)
	}
	for i := range 400 {
		s.expect(t, 200, fmt.Sprintf("PUT /secrets/%d x", i))
	}
	s.expect(t, 200, "PUT /secrets/large "+strings.Repeat("x", 1<<20))
}

func TestQuotasChangeWithoutARestart(t *testing.T) {
	s := serve(t, sections{"secrets": {"max_uid_secrets": "1"}})
	s.expect(t, 200, "PUT /secrets/a x")
	s.expect(t, 507, "PUT /secrets/b x")
	s.Reload(snapshot(t, sections{"secrets": {"max_uid_secrets": "1"}, "secrets/secrets": {"max_uid_secrets": "2"}}))
	s.expect(t, 200, "PUT /secrets/b x")
	s.expect(t, 507, "PUT /secrets/c x")
}

func TestManyClientsAtOnce(t *testing.T) {
	s := serve(t, nil)
	each := func(method, body string) {
		var group sync.WaitGroup
		for i := range 10 {
			group.Go(func() { s.expect(t, 200, fmt.Sprintf("%s /secrets/%d %s", method, i, body)) })
		}
		group.Wait()
	}
	each("PUT", "value")
	each("GET", "")
	each("DELETE", "")
	s.expect(t, 404, "GET /secrets/")
}

func TestSecretsOutliveTheService(t *testing.T) {
	root := t.TempDir()
	t.Run("first", func(t *testing.T) { serveAt(t, root, nil, vault.Open).expect(t, 200, "PUT /secrets/a x") })
	serveAt(t, root, nil, vault.Open).expect(t, 200, "GET /secrets/a")
}

func TestAVaultThatCannotBeOpenedIsTriedAgain(t *testing.T) {
	broken := true
	open := func(dir string, opts vault.Options) (*vault.Vault, error) {
		if broken {
			return nil, errors.New("the disk is away")
		}
		return vault.Open(dir, opts)
	}
	s := serveAt(t, t.TempDir(), nil, open)
	if r := s.expect(t, 500, "GET /secrets/"); strings.Contains(r.body, "disk") {
		t.Errorf("the client is told %q", r.body)
	}
	if !strings.Contains(s.logged.String(), "the disk is away") {
		t.Errorf("the log does not say why: %s", s.logged)
	}
	broken = false
	s.local.vault.mu.Lock()
	s.local.vault.failed = s.local.vault.failed.Add(-holdOff)
	s.local.vault.mu.Unlock()
	s.expect(t, 404, "GET /secrets/")
	if counters := metric.Words(s.Metrics()); counters["requests"] != 2 || counters["failed"] != 1 || counters["code"] != 1 || counters["refused"] != 0 {
		t.Errorf("counters %v", counters)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	s := serve(t, nil)
	s.expect(t, 200, "PUT /secrets/nameofasecret "+secretJSON("valueofasecret"))
	s.expect(t, 409, "PUT /secrets/nameofasecret "+secretJSON("valueofasecret"))
	s.expect(t, 400, "PUT /secrets/nameofasecret {valueofasecret}")
	s.expect(t, 200, "GET /secrets/nameofasecret")
	log := s.logged.String()
	if !strings.Contains(log, "uid=1000") {
		t.Fatalf("nothing is logged at all: %s", log)
	}
	if strings.Contains(log, "ofasecret") {
		t.Errorf("the log tells a secret: %s", log)
	}
}

// The examples of sssd-secrets(5), but for the socket's path.
func TestTheExamplesOfTheManualRun(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("the test needs curl")
	}
	s := serve(t, nil)
	for _, example := range []struct{ command, output string }{
		{`-XPOST http://localhost/secrets/mycontainer/`, "Success"},
		{`-XPUT http://localhost/secrets/foo -d{"type":"simple","value":"foosecret"}`, "Success"},
		{`-XPUT http://localhost/secrets/mycontainer/mysecret -d{"type":"simple","value":"foosecret"}`, "Success"},
		{`-XGET http://localhost/secrets/`, `"mycontainer/mysecret"`},
		{`-XGET http://localhost/secrets/foo`, `"value": "foosecret"`},
		{`-XDELETE http://localhost/secrets/foo`, "Success"},
		{`-XGET http://localhost/secrets/foo`, "404 Not Found"},
	} {
		arguments := []string{"-s", "-H", "Content-Type: application/json", "--unix-socket", s.path}
		out, err := exec.Command(curl, append(arguments, strings.Fields(example.command)...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), example.output) {
			t.Errorf("curl %s: %s, %v", example.command, out, err)
		}
	}
}

func TestTheKeyFileIsWhereTheManualSays(t *testing.T) {
	s := serve(t, nil)
	s.expect(t, 200, "PUT /secrets/a x")
	for _, name := range []string{"secrets.db", ".secrets.mkey"} {
		info, err := os.Stat(s.root + "/var/lib/sss/secrets/" + name)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestOptionsHaveTheDefaultsOfTheManual(t *testing.T) {
	s := secrets.Resolve(snapshot(t, nil))
	if s.Users != (secrets.Quota{NestLevel: 4, Secrets: 1024, UIDSecrets: 256, Payload: 16 << 10}) ||
		s.KCM != (secrets.Quota{NestLevel: 4}) {
		t.Errorf("%+v", s)
	}
}

// TestUpkeepThatFailsIsCountedAsSuch has root ask for what cannot be done.
func TestUpkeepThatFailsIsCountedAsSuch(t *testing.T) {
	open := func(string, vault.Options) (*vault.Vault, error) { return nil, errors.New("the disk is away") }
	s := serveAt(t, t.TempDir(), nil, open)
	if r := s.do(t, call{method: "POST", path: "/vault/rekey"}); r.status != 500 || !strings.Contains(r.body, "the disk is away") {
		t.Errorf("the administrator is told %d %q", r.status, r.body)
	}
	if counters := metric.Words(s.Metrics()); counters["requests"] != 1 || counters["failed"] != 1 {
		t.Errorf("counters %v", counters)
	}
}
