package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gosssd/cmd/sssctl/analyze"
	"gosssd/responder"
)

func TestRotatedLogsAreReadTheOldestFirst(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	sut := &tool{}
	var err error
	if sut.root, err = responder.MakeRoot(root); err != nil {
		t.Fatal(err)
	}
	dir := sut.root.Path(responder.LogDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	const who = " uid=1000 pid=7 program=klist"
	line := func(hour, op string) string {
		return "(2026-03-01 " + hour + ":00:00): [kcm] [logServed] (0x0400): [CID#3] request served: op=" + op + who + "\n"
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(line(" 1", "NOOP")))
	_ = z.Close()
	for i, f := range []struct{ name, text string }{
		{"sssd_kcm.log.2.gz", zipped.String()}, {"sssd_kcm.log.1", line(" 2", "STORE")}, {"sssd_kcm.log", line("13", "RETRIEVE")},
		{"sssd_kcm.log.3.xz", "?"}, {"sssd_secrets.log", line("14", "GET_NAME")},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	pid := uint32(7)
	listing, err := sut.analyze(analyze.Filter{PID: &pid}, false)
	if err != nil {
		t.Fatal(err)
	}
	answer := listing.JSON.(analyzed)
	var ops []string
	for _, r := range answer.Requests {
		ops = append(ops, r.Op)
	}
	if strings.Join(ops, " ") != "NOOP STORE RETRIEVE" || len(answer.Clients) != 1 {
		t.Errorf("ops %v, clients %+v", ops, answer.Clients)
	}
	if !strings.Contains(listing.Above, "sssd_kcm.log.3.xz is left out") || !strings.Contains(listing.Above, "debug_level 8") || strings.Contains(listing.Above, "debug_level 6") {
		t.Errorf("notes: %s", listing.Above)
	}
	since, err := parseSince("2026-03-01 02:00", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if listing, err = sut.analyze(analyze.Filter{PID: &pid, Since: since}, false); err != nil || len(listing.JSON.(analyzed).Requests) != 2 {
		text, _ := json.Marshal(listing.JSON)
		t.Errorf("since two: %v %s", err, text)
	}
	if err := os.WriteFile(filepath.Join(dir, "sssd_kcm.log.2.gz"), zipped.Bytes()[:zipped.Len()-4], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sut.analyze(analyze.Filter{}, false); err == nil || !strings.Contains(err.Error(), "sssd_kcm.log.2.gz") {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestSinceIsATimeOrHowLongAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"90m": "2026-03-01T10:30:00Z", "09:30": "2026-03-01T09:30:00Z", "2026-02-28": "2026-02-28T00:00:00Z",
		"2026-02-28 07:08": "2026-02-28T07:08:00Z", "2026-02-28T07:08:09+01:00": "2026-02-28T06:08:09Z",
	} {
		if got, err := parseSince(text, now); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s: %v %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-5m", "25:00"} {
		if got, err := parseSince(text, now); err == nil {
			t.Errorf("%s is read as %v", text, got)
		}
	}
}
