package output

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mattn/go-runewidth"
	"github.com/spf13/cobra"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)

// sample is a listing with a long cell, a wide one and times.
func sample() Listing {
	return Listing{
		Table: Table{
			Now:     now,
			Heading: []string{"OWNER", "PRINCIPAL", "EXPIRES", "RENEWAL"},
			Rows: [][]Cell{
				{Text("1000 (ann)"), Text("ann@EXAMPLE.TEST"), Until(now.Add(3*time.Hour+12*time.Minute).Unix(), now), Text(strings.Repeat("long ", 20))},
				{Text("1001"), Text("日本@EXAMPLE.TEST"), Until(now.Add(-2*time.Minute).Unix(), now), Text("")},
			},
		},
		JSON: []map[string]any{{"uid": 1000, "name": "<a>"}},
	}
}

// printed is what a command with these arguments prints to a place.
func printed(t *testing.T, to Place, l Listing, args ...string) string {
	t.Helper()
	var out strings.Builder
	to.Writer = &out
	o := parsed(t, args...)
	if err := o.Run(t.Context(), to, func() (Listing, error) { return l, nil }); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func parsed(t *testing.T, args ...string) *Options {
	t.Helper()
	c := &cobra.Command{}
	o := Add(c)
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestATableIsFittedToATerminal(t *testing.T) {
	t.Parallel()
	got := printed(t, Place{Terminal: true, Width: 80}, sample())
	want := `OWNER       PRINCIPAL          EXPIRES      RENEWAL
1000 (ann)  ann@EXAMPLE.TEST   in 3h 12min  long long long long long long long …
1001        日本@EXAMPLE.TEST  2min ago     -
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, width := range []int{44, 60, 80, 100} {
		for line := range strings.Lines(printed(t, Place{Terminal: true, Width: width}, sample())) {
			if w := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); w > width {
				t.Errorf("at %d columns a line has %d: %s", width, w, line)
			}
		}
	}
}

func TestNothingIsCutElsewhereOrWhereAllIsWanted(t *testing.T) {
	t.Parallel()
	whole := strings.Repeat("long ", 20)
	for name, got := range map[string]string{
		"a pipe": printed(t, Place{}, sample()),
		"--full": printed(t, Place{Terminal: true, Width: 80}, sample(), "--full"),
	} {
		if !strings.Contains(got, whole) {
			t.Errorf("%s: the text is cut:\n%s", name, got)
		}
		if !strings.Contains(got, "2026-03-01 15:12:00") {
			t.Errorf("%s: there are no dates:\n%s", name, got)
		}
	}
}

func TestTheHeadingCanBeLeftOut(t *testing.T) {
	t.Parallel()
	if got := printed(t, Place{}, sample(), "--no-legend"); strings.Contains(got, "OWNER") || strings.Count(got, "\n") != 2 {
		t.Errorf("got\n%s", got)
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	t.Parallel()
	if got := printed(t, Place{}, sample()); strings.Contains(got, "\x1b") {
		t.Errorf("a pipe gets %q", got)
	}
	if got := printed(t, Place{Terminal: true, Width: 80, Colours: true}, sample()); !strings.Contains(got, red+"2min ago"+plain+"  ") {
		t.Errorf("a terminal gets %q", got)
	}
}

func TestJSONIsPrettyForPeopleAndShortForPrograms(t *testing.T) {
	t.Parallel()
	const short, pretty = `[{"name":"<a>","uid":1000}]` + "\n", "[\n  {\n    \"name\": \"<a>\",\n    \"uid\": 1000\n  }\n]\n"
	for _, c := range []struct {
		terminal bool
		arg      string
		want     string
	}{
		{false, "-j", short}, {true, "-j", pretty}, {false, "--json", short}, {true, "--json", pretty},
		{true, "--json=short", short}, {false, "--json=pretty", pretty},
	} {
		if got := printed(t, Place{Terminal: c.terminal}, sample(), c.arg); got != c.want {
			t.Errorf("%s, terminal %v: got %s", c.arg, c.terminal, got)
		}
	}
	if got := printed(t, Place{}, sample(), "--json=off"); !strings.HasPrefix(got, "OWNER") {
		t.Errorf("--json=off: got %s", got)
	}
	c := &cobra.Command{}
	Add(c)
	if err := c.ParseFlags([]string{"--json=nice"}); err == nil || !strings.Contains(err.Error(), `"nice" is none of pretty, short and off`) {
		t.Errorf("--json=nice: %v", err)
	}
}

// TestWatchPrintsUntilItIsEnded has each document of --json on a line of its own.
func TestWatchPrintsUntilItIsEnded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		var out strings.Builder
		o := parsed(t, "--watch=10s", "-j")
		if err := o.Run(ctx, Place{Writer: &out}, func() (Listing, error) { return sample(), nil }); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if len(lines) != 3 {
			t.Fatalf("after 25 s there are %d lines", len(lines))
		}
		for _, line := range lines {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s is no JSON", line)
			}
		}
	})
}

func TestWatchRefusesWhatWouldNotRest(t *testing.T) {
	t.Parallel()
	for _, interval := range []string{"-1s", "1ms"} {
		err := parsed(t, "--watch="+interval).Run(t.Context(), Place{}, func() (Listing, error) { return sample(), nil })
		if err == nil || !strings.Contains(err.Error(), "the shortest is 100ms") {
			t.Errorf("%s: %v", interval, err)
		}
	}
}

func TestWhatThereIsIsPrintedBesideAnError(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	failed := errors.New("one user's caches cannot be read")
	err := parsed(t).Run(t.Context(), Place{Writer: &out}, func() (Listing, error) { return sample(), failed })
	if !errors.Is(err, failed) || !strings.Contains(out.String(), "ann@EXAMPLE.TEST") {
		t.Errorf("%v, printed %q", err, out.String())
	}
}

func TestRelativeTimes(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"now": 0, "in 5s": 5 * time.Second, "2min ago": -2 * time.Minute, "in 3h 12min": 3*time.Hour + 12*time.Minute + 59*time.Second,
		"6d 23h ago": -7*24*time.Hour + time.Minute, "in 1d": 24 * time.Hour,
	} {
		if got := relative(now.Add(d), now); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestTimesForProgramsAreUTC(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal([]*time.Time{UTC(1772366400), UTC(0)})
	if err != nil || string(got) != `["2026-03-01T12:00:00Z",null]` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestOptionalColumnsAreLeftOutBeforeAnyIsCut(t *testing.T) {
	t.Parallel()
	l := sample()
	l.Table.Rows[0][3] = Text("due")
	l.Table.Optional = []string{"EXPIRES", "OWNER"}
	for width, want := range map[int]string{
		0: "OWNER PRINCIPAL EXPIRES RENEWAL", 60: "OWNER PRINCIPAL EXPIRES RENEWAL", 40: "OWNER PRINCIPAL RENEWAL", 30: "PRINCIPAL RENEWAL",
	} {
		heading, _, _ := strings.Cut(printed(t, Place{Terminal: true, Width: width}, l), "\n")
		if got := strings.Join(strings.Fields(heading), " "); got != want {
			t.Errorf("at %d columns: %s, want %s", width, got, want)
		}
	}
	if got := printed(t, Place{Terminal: true, Width: 30}, l, "--no-legend"); !strings.HasPrefix(got, "ann@EXAMPLE.TEST") || strings.Contains(got, "…") {
		t.Errorf("without a heading:\n%s", got)
	}
	if heading, _, _ := strings.Cut(printed(t, Place{Terminal: true, Width: 30}, l, "--full"), "\n"); !strings.Contains(heading, "EXPIRES") {
		t.Errorf("--full: %s", heading)
	}
}

func TestLinesAboveATableAreForPeople(t *testing.T) {
	t.Parallel()
	l := sample()
	l.Above = "Cache: x\n\n"
	if got := printed(t, Place{}, l); !strings.HasPrefix(got, "Cache: x\n\nOWNER") {
		t.Errorf("got\n%s", got)
	}
	if got := printed(t, Place{}, l, "--no-legend") + printed(t, Place{}, l, "-j"); strings.Contains(got, "Cache") {
		t.Errorf("got\n%s", got)
	}
}
