package tests

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// prometheusProgram returns one of Debian's programs of Prometheus.
func prometheusProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../build/prometheus/usr/bin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		skip(t, "needs build/prometheus, which tests/setup.sh makes")
	}
	return path
}

// busy is a system whose metrics have something to tell.
func busy(t *testing.T) *system {
	t.Helper()
	s := newSystem(t, "[kcm]\nmax_uid_ccaches = 10\n").start()
	load(t, s.kcm())
	return s
}

// load has a client make a cache and ask for what there is and for what there is not.
func load(t *testing.T, c *kcmClient) {
	t.Helper()
	name := fmt.Sprint(os.Getuid())
	if err := c.Initialize(name, principal("alice")); err != nil {
		t.Error(err)
	}
	for _, asked := range []string{name, name + ":none"} {
		_, _ = c.Call(protocol.OpGetPrincipal, protocol.AppendName(nil, asked))
	}
}

func TestPrometheusFindsNothingWrongWithMetrics(t *testing.T) {
	t.Parallel()
	promtool := prometheusProgram(t, "promtool")
	s := busy(t)
	text := s.ctl(user(os.Getuid()), "", "metrics", "--format=text").stdout
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s\nof\n%s", err, out, text)
	}
	expect(t, text, `gosssd_kcm_requests_total{op="get_principal",result="ok"} `, `gosssd_kcm_request_seconds_bucket{op="initialize",le="+Inf"} `,
		`gosssd_store_sync_seconds_count{service="secrets"} `, `gosssd_kcm_user_fullness_ratio{limit="max_uid_ccaches",uid="`, "gosssd_up 1\n")
	refuse(t, text, "alice") // and whoever else has a principal
	for _, args := range [][]string{{"check", "rules", "gosssd-alerts.yml"}, {"test", "rules", "gosssd-alerts_test.yml"}} {
		check := exec.Command(promtool, args...)
		check.Dir = "../packaging/contrib"
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
	// The check can fail.
	check = exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(strings.Replace(text, "# HELP gosssd_up ", "# ", 1))
	if out, err := check.CombinedOutput(); err == nil {
		t.Errorf("metrics without help pass: %s", out)
	}
}

func TestAFileOfMetricsIsThereForNodeExporter(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	me, path := user(os.Getuid()), t.TempDir()+"/gosssd.prom"
	if got := s.ctl(me, "", "metrics", "--textfile", path); got != (said{}) {
		t.Fatalf("where sssd does not run: %+v", got)
	}
	read := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if text := read(); !strings.HasSuffix(text, "\ngosssd_up 0\n") {
		t.Errorf("where sssd does not run the file has %q", text)
	}
	s.start()
	load(t, s.kcm())
	if got := s.ctl(me, "", "metrics", "--textfile="+path); got != (said{}) {
		t.Fatalf("%+v", got)
	}
	expect(t, read(), "gosssd_up 1\n", "# TYPE gosssd_kcm_requests_total counter\n")
	refuse(t, read(), "# EOF", "# UNIT")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	expect(t, s.ctl(me, "", "metrics").stdout, "# UNIT gosssd_kcm_request_seconds seconds\n", "\n# EOF\n")
	for what, args := range map[string][]string{
		"there is no directory":        {"--textfile=" + path + ".d/x.prom"},
		"does not end in .prom":        {"--textfile=" + path + ".txt"},
		"none of openmetrics and text": {"--format=xml"},
		"choose one of":                {"--format=text", "--textfile=" + path},
	} {
		if got := s.ctl(me, "", append([]string{"metrics"}, args...)...); got.code != 1 || !strings.Contains(got.stderr, what) {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// TestEveryQueryOfTheDashboardHasData asks a real Prometheus that has read the
// metrics in both formats.
func TestEveryQueryOfTheDashboardHasData(t *testing.T) {
	t.Parallel()
	s := busy(t)
	server := prometheusOf(t, s)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	b, err := os.ReadFile("../packaging/contrib/gosssd-dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &dashboard); err != nil {
		t.Fatal(err)
	}
	queries := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			queries++
			for _, job := range []string{"openmetrics", "text"} {
				query := strings.NewReplacer(`instance=~"$instance"`, `job="`+job+`"`, "$__rate_interval", "1m").Replace(target.Expr)
				soon(t, func() bool { return server.has(t, query) }, func() string { return panel.Title + " shows nothing: " + query })
			}
		}
	}
	if queries < 15 {
		t.Errorf("the dashboard has %d queries", queries)
	}
	if server.has(t, `gosssd_no_such_thing`) {
		t.Error("there is data for what there is not")
	}
}

// prometheus is a running server.
type prometheus struct{ base string }

// prometheusOf starts a Prometheus that reads the metrics of s, as sssctl prints
// them in either format.
func prometheusOf(t *testing.T, s *system) prometheus {
	t.Helper()
	program := prometheusProgram(t, "prometheus")
	c, asking := s.kcm(), sync.Mutex{}
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		format, kind := "text", "text/plain; version=0.0.4"
		if r.URL.Path == "/openmetrics" {
			format, kind = "openmetrics", "application/openmetrics-text; version=1.0.0"
		}
		asking.Lock()
		defer asking.Unlock()
		load(t, c)
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, s.ctl(user(os.Getuid()), "", "metrics", "--format="+format).stdout)
	}))
	t.Cleanup(source.Close)
	dir, config := t.TempDir(), "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n"
	for _, format := range []string{"openmetrics", "text"} {
		config += fmt.Sprintf("- {job_name: %s, metrics_path: /%s, static_configs: [{targets: ['%s']}]}\n", format, format, source.Listener.Addr())
	}
	if err := os.WriteFile(dir+"/prometheus.yml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	said, err := os.Create(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+address)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p := prometheus{"http://" + address}
	soon(t, func() bool {
		reply, err := http.Get(p.base + "/-/ready")
		if err != nil {
			return false
		}
		_ = reply.Body.Close()
		return reply.StatusCode == http.StatusOK
	}, func() string {
		b, _ := os.ReadFile(dir + "/log")
		return "Prometheus does not start:\n" + string(b)
	})
	return p
}

// has reports whether a query has a result that is a number.
func (p prometheus) has(t *testing.T, query string) bool {
	t.Helper()
	reply, err := http.Get(p.base + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(reply.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error != "" {
		t.Fatalf("%s: %s", query, answer.Error)
	}
	for _, one := range answer.Data.Result {
		if one.Value[1] == "NaN" {
			return false
		}
	}
	if len(answer.Data.Result) == 0 {
		time.Sleep(50 * time.Millisecond) // until the next reading
	}
	return len(answer.Data.Result) > 0
}
