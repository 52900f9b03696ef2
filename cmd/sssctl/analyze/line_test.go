package analyze

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gosssd/responder/log"
)

// written is what the logger writes, as lines without their ends.
func written(level int64, write func(*log.Logger)) []string {
	var b bytes.Buffer
	l := log.To(&b, log.Mask(level))
	write(l)
	l.Flush()
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestLinesOfTheLoggerAreRead(t *testing.T) {
	t.Parallel()
	lines := written(6, func(l *log.Logger) {
		l.Client(7, 1000).Debug("request served", "op", "STORE", "uid", 1000, "cache", "a b\n\"=: x=y", "ticket bytes", 5, "program", "")
		l.Named("bus").Info("plain: text")
		l.Warn("store: commit", "keys", "a=b,c")
	})
	want := []Line{
		{Program: "test", Function: "func1", Level: 0x400, CID: 7, Text: "request served",
			Pairs: []Pair{{"op", "STORE"}, {"uid", "1000"}, {"cache", "a b\n\"=: x=y"}, {"ticket bytes", "5"}, {"program", ""}}},
		{Program: "test", Level: 0x100, Text: "bus: plain: text"},
		{Program: "test", Level: 0x40, Text: "store: commit", Pairs: []Pair{{"keys", "a=b,c"}}},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %q", len(lines), lines)
	}
	for i, line := range lines {
		got, ok := Parse(line, time.UTC)
		w := want[i]
		if !ok || got.Program != w.Program || got.Level != w.Level || got.CID != w.CID || got.Text != w.Text || len(got.Pairs) != len(w.Pairs) {
			t.Fatalf("%s\ngot  %+v\nwant %+v", line, got, w)
		}
		for n, pair := range w.Pairs {
			if got.Pairs[n] != pair {
				t.Errorf("%s: pair %+v, want %+v", line, got.Pairs[n], pair)
			}
		}
	}
}

func TestTimesAreRead(t *testing.T) {
	t.Parallel()
	for stamp, want := range map[string]time.Time{
		"2026-11-23  9:05:07":        time.Date(2026, 11, 23, 9, 5, 7, 0, time.UTC),
		"2026-11-23 19:05:07":        time.Date(2026, 11, 23, 19, 5, 7, 0, time.UTC),
		"2026-11-23 19:05:07:123456": time.Date(2026, 11, 23, 19, 5, 7, 123456000, time.UTC),
	} {
		l, ok := Parse("("+stamp+"): [kcm] [serve] (0x0100): ready", time.UTC)
		if !ok || !l.Time.Equal(want) || l.Text != "ready" {
			t.Errorf("%s: %v %+v", stamp, ok, l)
		}
	}
}

func TestWhatIsNoLineIsNotRead(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"", "---- what led to the line above:", "   *  (2026-11-23  9:05:07): [kcm] [serve] (0x0100): ready", "panic: x",
		"(2026-11-23): [kcm] [serve] (0x0100): ready", "[kcm] [serve] (0xzz): ready", "[kcm] [serve]", "(", "[",
	} {
		if l, ok := Parse(line, time.UTC); ok {
			t.Errorf("%q is read as %+v", line, l)
		}
	}
}

func TestALineThatStandsForOthersIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lines := written(2, func(l *log.Logger) {
			for range 14 {
				l.Client(3, 1000).Warn("request refused", "op", "STORE", "uid", 1000, "code", log.Cause("EDQUOT"))
			}
		})
		l, ok := Parse(lines[len(lines)-1], time.UTC)
		if !ok || len(lines) != 11 || l.LeftOut != 4 || l.Window != 10*time.Second || l.Text != "request refused" || l.Get("op") != "STORE" {
			t.Errorf("%d lines, the last %q: %+v", len(lines), lines[len(lines)-1], l)
		}
	})
}

// FuzzLine has any line read without harm, and any value come back from the
// logger's line as it was, unless the logger cuts it.
func FuzzLine(f *testing.F) {
	f.Add("(2026-11-23  9:05:07): [kcm] [serve] (0x0400): [CID#7] request served: op=STORE uid=0", "value")
	f.Add(`12 lines like this one were left out in 10s: a: b="c d" e=`, "two words: a=b")
	f.Add("[kcm] [x] (0x0010): a: b: c=d e", "\xff\"\\\n\u2028")
	f.Fuzz(func(t *testing.T, line, value string) {
		if l, ok := Parse(line, time.UTC); ok && !strings.Contains(line, l.Text) {
			t.Errorf("%q: the text %q is not of the line", line, l.Text)
		}
		_, _ = ParseJournal([]byte(line))
		if len(value) > 2000 {
			return
		}
		got := written(6, func(l *log.Logger) {
			l.Client(1, 5).Debug("request served", "op", value, "reason", "end")
		})
		l, ok := Parse(got[0], time.UTC)
		if len(got) != 1 || !ok || l.CID != 1 || l.Text != "request served" || l.Get("op") != value || l.Get("reason") != "end" {
			t.Errorf("value %q: lines %q, read as %+v", value, got, l)
		}
	})
}
