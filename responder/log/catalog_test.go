package log

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestEveryMessageIsInTheCatalog compares the table with the catalog, and with
// the lines that the programs write.
func TestEveryMessageIsInTheCatalog(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../packaging/gosssd.catalog")
	if err != nil {
		t.Fatal(err)
	}
	var listed, known []string
	for _, entry := range regexp.MustCompile(`(?m)^-- ([0-9a-f]{32})$`).FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, entry[1])
	}
	sources := sourcesOf(t, "../..")
	for _, m := range messages {
		known = append(known, m.id)
		if !strings.Contains(sources, strconv.Quote(m.text)) {
			t.Errorf("no program writes %q", m.text)
		}
	}
	if !slices.Equal(listed, known) || len(known) > 12 {
		t.Errorf("the catalog has %v\nthe table %v", listed, known)
	}
	if slices.Sort(known); len(slices.Compact(known)) != len(messages) {
		t.Error("two messages have one ID")
	}
	if n := strings.Count(string(text), "\nCure: "); n != len(messages) {
		t.Errorf("%d of %d entries have a cure", n, len(messages))
	}
}

// sourcesOf returns all programs' text, this table left out.
func sourcesOf(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") || d.Name() == "catalog.go" {
			return err
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestPairsBecomeFieldsOfTheJournal(t *testing.T) {
	t.Parallel()
	got := fieldsOf(7, "request refused", []any{"socket", "web"}, []any{"uid", uint32(1000), "cache", "1000:a\nb", "ticket bytes", 3, "code", Cause("EDQUOT")})
	want := map[string]string{
		"MESSAGE_ID": messages[0].id, "GOSSSD_CID": "7", "GOSSSD_SOCKET": "web", "GOSSSD_UID": "1000", "GOSSSD_CACHE": "1000:a\nb",
		"GOSSSD_TICKET_BYTES": "3", "GOSSSD_CODE": "EDQUOT",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	for code, id := range map[string]string{"403": messages[1].id, "400": messages[2].id, "": messages[2].id} {
		if got := messageID("request refused", code); got != id {
			t.Errorf("code %q: message %s, want %s", code, got, id)
		}
	}
	if got := fieldsOf(0, "ready"); len(got) != 0 {
		t.Errorf("a line without pairs has %v", got)
	}
	r := repeat{missing: 4, example: entry{fields: got}}
	if fields := r.summary().fields; fields["GOSSSD_LEFT_OUT"] != "4" || fields["MESSAGE_ID"] != messages[0].id || got["GOSSSD_LEFT_OUT"] != "" {
		t.Errorf("the count of lines that were left out has %v", fields)
	}
}
