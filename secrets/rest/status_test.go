package rest

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestStatusTable runs testdata/status.table: what is asked, in which state,
// and the code that is answered.
func TestStatusTable(t *testing.T) {
	text, err := os.ReadFile("testdata/status.table")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for block := range strings.SplitSeq(string(text), "\n= ") {
		title, lines, found := strings.Cut(block, "\n")
		if !found || strings.HasPrefix(title, "#") {
			continue
		}
		t.Run(title, func(t *testing.T) { rows += runBlock(t, lines) })
	}
	if rows < 60 {
		t.Errorf("the table has %d rows", rows)
	}
}

func runBlock(t *testing.T, lines string) (rows int) {
	conf := sections{}
	var server *testServer
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if section, option, isOption := strings.Cut(line, "]"); isOption && section[0] == '[' {
			key, value, _ := strings.Cut(option, "=")
			if conf[section[1:]] == nil {
				conf[section[1:]] = map[string]string{}
			}
			conf[section[1:]][strings.TrimSpace(key)] = strings.TrimSpace(value)
			continue
		}
		if server == nil {
			server = serve(t, conf)
		}
		request, codes, _ := strings.Cut(line, " -> ")
		expected, err := strconv.Atoi(strings.TrimSpace(codes))
		if err != nil {
			t.Fatalf("no code in %q", line)
		}
		rows++
		if seen := server.do(t, parseCall(t, request)).status; seen != expected {
			t.Errorf("%s: expected %d, seen %d", request, expected, seen)
		}
	}
	return rows
}

// parseCall reads "UID METHOD path form body". Forms are json, octet, none or
// type=<anything>; bodies are text, or value:<bytes> and
// octets:<bytes> for long ones.
func parseCall(t *testing.T, line string) call {
	t.Helper()
	parts := append(strings.SplitN(line, " ", 5), "", "")
	uid, err := strconv.ParseUint(parts[0], 10, 32)
	if err != nil || len(parts) < 6 {
		t.Fatalf("not a request: %q", line)
	}
	c := call{as: uint32(uid), method: parts[1], path: parts[2], header: http.Header{}}
	switch form := strings.TrimSpace(parts[3]); {
	case form == "json":
		c.header.Set("Content-Type", jsonType)
	case form == "octet":
		c.header.Set("Content-Type", octetType)
	case strings.HasPrefix(form, "type="):
		c.header.Set("Content-Type", form[len("type="):])
	case form != "none":
		t.Fatalf("no form in %q", line)
	}
	c.body = longBody(t, strings.TrimSpace(parts[4]))
	return c
}

func longBody(t *testing.T, text string) []byte {
	t.Helper()
	kind, rest, _ := strings.Cut(text, ":")
	size, err := strconv.Atoi(rest)
	filler := strings.Repeat("x", max(size, 0))
	switch {
	case err != nil:
		return []byte(text)
	case kind == "value":
		return []byte(secretJSON(filler))
	case kind == "octets":
		return []byte(filler)
	}
	return []byte(text)
}
