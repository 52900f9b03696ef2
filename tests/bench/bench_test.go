package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPercentilesAreWithinAStep(t *testing.T) {
	h := histogram{}
	for i := range 100_000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for _, p := range []float64{1, 50, 90, 99, 99.9} {
		want := time.Duration(p*1000) * time.Microsecond
		if got := h.percentile(p); got > want || got < want*15/16-time.Microsecond {
			t.Errorf("%v%% is %v, want %v", p, got, want)
		}
	}
	if (histogram{}).percentile(99) != 0 {
		t.Error("an empty histogram has a percentile")
	}
}

func TestStepsRise(t *testing.T) {
	last := 0
	for n := range uint64(1 << 16) {
		if s := step(n); s < last || s > last+1 || uint64(value(s)) > n {
			t.Fatalf("%d is in step %d, which begins at %d, after step %d", n, s, value(s), last)
		}
		last = step(n)
	}
}

func TestTheConstantServerAnswersAReader(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := listenConstants(socket)
	if err != nil {
		t.Fatal(err)
	}
	go answerAll(l) // for as long as the test program runs
	for _, fresh := range []bool{false, true} {
		c := &client{conn: newConn(socket, fresh), cache: "1:a"}
		step, err := reading(c)
		for range 3 {
			if err == nil {
				err = step()
			}
		}
		if err != nil {
			t.Error(err)
		}
		c.close()
	}
}

func TestASummaryOfStraceIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary")
	text := "    calls syscall\n--------- ----------------\n     4247 futex\n        3 fdatasync\n        2 fsync\n--------- ----------------\n     4252 total\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	counts, err := readSummary(path)
	if err != nil || len(counts) != 3 || flushes(counts) != 5 {
		t.Errorf("%v, %v", counts, err)
	}
}

// madeUp is a run with a value in every row that is plotted or judged.
func madeUp() *bench {
	b := &bench{servers: servers("bin", "bench", "..")}
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range panels {
		for _, r := range p.rows {
			for _, s := range b.servers {
				b.note(r, s.name, random.Float64()*100_000)
			}
		}
	}
	return b
}

func TestThePlotIsXML(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(madeUp().plot()))
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "title" {
			bars++
		}
	}
	if bars < 4*len(panels)*3 {
		t.Errorf("%d bars", bars)
	}
}

// TestTheReadmeShowsWhatWasMeasured holds the rows of the comparison in the
// project's README against the table that the benchmark wrote.
func TestTheReadmeShowsWhatWasMeasured(t *testing.T) {
	results, err := os.ReadFile("results.md")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, comparison, _ := strings.Cut(string(readme), "<!-- measured -->\n")
	comparison, _, found := strings.Cut(comparison, "<!-- /measured -->")
	if !found || strings.Count(comparison, "\n|") < 20 {
		t.Fatalf("the README has no comparison:\n%s", comparison)
	}
	known := strings.Split(string(results), "\n")
	for line := range strings.Lines(comparison) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "|") && !slices.Contains(known, line) {
			t.Errorf("results.md has no such row: %s", line)
		}
	}
}

func TestTheTableJudgesOnlyWhatWasMeasured(t *testing.T) {
	b := &bench{servers: servers("bin", "bench", "..")}
	if got := b.table(); strings.Contains(got, "wanted") {
		t.Errorf("verdicts without measurements:\n%s", got)
	}
	b.note("read, 1 client, per s", ourDefault, 700)
	b.note("read, 1 client, per s", "limit", 1001)
	if got := b.table(); !strings.Contains(got, "| reads at 1 client: 0.7 × limit | 0.70 | missed |") {
		t.Errorf("table:\n%s", got)
	}
	for _, round := range [][2]float64{{9000, 10000}, {71, 100}} {
		b.note("read, 1 client, per s", ourDefault, round[0])
		b.note("read, 1 client, per s", "limit", round[1])
	}
	if got := b.table(); !strings.Contains(got, "| 0.71 | met |") {
		t.Errorf("table:\n%s", got)
	}
}
