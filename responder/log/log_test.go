package log

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestMaskConvertsLevelsAsSSSDDoes(t *testing.T) {
	for n, want := range map[int64]Level{
		-1: 0x0010, 0: 0x0010, 1: 0x0030, 2: 0x0070, 5: 0x03f0, 9: 0x2f7f0, 10: 0x3f7f0, 11: 0x3f7f0,
		15: 0x3f7f0, 16: 0x0010, 0x0400: 0x0400, 0x1f0: 0x01f0,
	} {
		if got := Mask(n); got != want {
			t.Errorf("Mask(%#x) = %v, want %v", n, got, want)
		}
	}
}

func TestALineHasSSSDsForm(t *testing.T) {
	var b bytes.Buffer
	l := To(&b, Mask(9))
	l.Client(7, 1000).Debug("a store", "name", "1000:x", "reason", "two words\n")
	want := `[test] [TestALineHasSSSDsForm] (0x0400): [CID#7] a store: name=1000:x reason="two words\n"` + "\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b.String(), want)
	}
}

func TestAFunctionIsNamedWithoutItsPlace(t *testing.T) {
	for function, want := range map[string]string{
		"gosssd/kcm.(*Server).serve.func1": "serve",
		"gosssd/responder.Main":            "Main",
		"main.main":                        "main",
		"gosssd/kcm.server.run.func2.1":    "run",
		"":                                 "",
	} {
		if got := plainName(function); got != want {
			t.Errorf("plainName(%q) = %q, want %q", function, got, want)
		}
	}
}

func TestTheHourIsPaddedWithABlank(t *testing.T) {
	at := time.Date(2026, 11, 3, 9, 5, 7, 123456789, time.Local)
	for microseconds, want := range map[bool]string{false: "(2026-11-03  9:05:07): ", true: "(2026-11-03  9:05:07:123456): "} {
		o := Options{Timestamps: true, Microseconds: microseconds}
		if got := string(o.appendTime(nil, at)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestLevelsLetThroughWhatTheyStandFor(t *testing.T) {
	for name, c := range map[string]struct {
		level int64
		want  string
	}{
		"level 0 lets fatal failures through": {0, "F"},
		"level 2 lets failures through":       {2, "FEW"},
		"level 4 adds settings":               {4, "FEWMI"},
		"level 6 adds operations":             {6, "FEWMID"},
		"level 8 adds internals":              {8, "FEWMIDT"},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			l := To(&b, Mask(c.level))
			l.Fatal("F")
			l.Error("E")
			l.Warn("W")
			l.Minor("M")
			l.Info("I")
			l.Debug("D")
			l.Trace("T")
			got := regexp.MustCompile(`(?m)^.*: |\n`).ReplaceAllString(b.String(), "")
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestALogFileIsPrivateAndReopenedByItsPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	l := Open(Options{Program: "kcm", Destination: "files", File: path, Level: Default})
	l.Warn("one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	l.Warn("two")
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Warn("three")
	for name, want := range map[string]int{path + ".1": 2, path: 1} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "\n"); n != want {
			t.Errorf("%s has %d lines, want %d", name, n, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

// Whoever renames or deletes a log may not know that we write it.
func TestALogThatWasMovedIsNoticedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.log")
		l := Open(Options{Program: "kcm", Destination: "files", File: path, Level: Default})
		l.Warn("one")
		time.Sleep(lookEvery)
		l.Warn("two")
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery)
		l.Warn("three")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookEvery)
		l.Warn("four")
		for name, want := range map[string]string{path + ".1": "one two", path: "four"} {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var words []string
			for line := range strings.Lines(string(b)) {
				words = append(words, strings.Fields(line)[len(strings.Fields(line))-1])
			}
			if got := strings.Join(words, " "); got != want {
				t.Errorf("%s has %q, want %q", name, got, want)
			}
		}
	})
}

func TestAFailureIsFollowedByWhatLedToIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.log")
	l := Open(Options{Program: "kcm", Destination: "files", File: path, Level: Default, Backtrace: true})
	l.Info("opened")
	l.Debug("an operation") // above the ring's level
	l.Warn("failed")
	l.Warn("failed again")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Count(text, "opened") != 1 || strings.Count(text, "what led to the line") != 1 || strings.Contains(text, "an operation") {
		t.Errorf("got:\n%s", text)
	}
}

func TestTheBacktraceIsBounded(t *testing.T) {
	r := &ring{}
	for range 1000 {
		r.keep(make([]byte, 1000))
	}
	if r.size > ringSize || len(r.lines) > ringSize/1000 {
		t.Errorf("%d bytes in %d lines", r.size, len(r.lines))
	}
}

func TestADisabledCallCostsNoAllocation(t *testing.T) {
	l := To(&bytes.Buffer{}, Default)
	n := 12345
	if got := testing.AllocsPerRun(100, func() {
		l.Debug("constant")
		if l.On(hclog.Debug) {
			l.Debug("with a number", "n", n)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestSetLevelLetsThroughEverythingUpToIt(t *testing.T) {
	l := Discard()
	for _, level := range []hclog.Level{hclog.Error, hclog.Warn, hclog.Info, hclog.Debug, hclog.Trace} {
		l.SetLevel(level)
		if got := l.GetLevel(); got != level {
			t.Errorf("SetLevel(%v) gives %v", level, got)
		}
		if !l.On(hclog.Error) {
			t.Errorf("SetLevel(%v) switches errors off", level)
		}
	}
}

func BenchmarkDisabled(b *testing.B) {
	l := To(&bytes.Buffer{}, Default)
	for b.Loop() {
		l.Debug("constant")
	}
}
