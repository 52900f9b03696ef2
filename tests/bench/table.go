package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table is everything that was measured, as Markdown.
func (b *bench) table() string {
	var out strings.Builder
	mode := "quick"
	if b.full {
		mode = "full"
	}
	fmt.Fprintf(&out, "Measured %s (%s), %d processors, medians of the rounds, all servers in turn.\n", time.Now().Format(time.DateOnly), mode, runtime.NumCPU())
	for _, s := range b.servers {
		fmt.Fprintf(&out, "%s: %s. ", s.name, s.what)
	}
	out.WriteString("\n\n")
	columns := b.columns()
	fmt.Fprintf(&out, "| | %s |\n|---%s|\n", strings.Join(columns, " | "), strings.Repeat("|---:", len(columns)))
	for _, r := range b.rows {
		fmt.Fprintf(&out, "| %s |", r.name)
		for _, c := range columns {
			out.WriteString(" " + cell(r.values[c]) + " |")
		}
		out.WriteString("\n")
	}
	if verdicts := b.verdicts(); len(verdicts) > 0 {
		out.WriteString("\n| wanted | measured | |\n|---|---:|---|\n")
		for _, v := range verdicts {
			fmt.Fprintf(&out, "| %s | %s | %s |\n", v.want, format(v.got), v.word())
		}
	}
	return out.String()
}

// columns are the names that values were noted for, servers first.
func (b *bench) columns() []string {
	var names []string
	add := func(extra string) {
		if slices.ContainsFunc(b.rows, func(r *row) bool { return len(r.values[extra]) > 0 }) {
			names = append(names, extra)
		}
	}
	for _, s := range b.servers {
		names = append(names, s.name)
		add(diskBeside(s))
	}
	add("FILE")
	add("disk")
	return names
}

func cell(values []float64) string {
	if len(values) == 0 {
		return "–"
	}
	return format(median(values))
}

func format(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// verdict is one thing that was promised.
type verdict struct {
	want string
	got  float64
	met  bool
}

func (v verdict) word() string {
	if v.met {
		return "met"
	}
	return "missed"
}

// verdicts compares what was measured with what was promised. What was not
// measured is left out.
func (b *bench) verdicts() []verdict {
	v := &verdicts{bench: b}
	v.ratio("reads at 1 client: 10 × SSSD", 10, "read, 1 client, per s", "SSSD")
	for _, clients := range []string{"1 client", "4 clients", "16 clients"} {
		v.ratio("reads at "+clients+": 0.7 × limit", 0.7, "read, "+clients+", per s", "limit")
	}
	v.atMost("p99 of reads at 16 clients: below 5000 µs", 5000, "read, 16 clients, p99 µs")
	v.ratio("stores at 1 client: 4 × SSSD", 4, "store, 1 client, per s", "SSSD")
	v.ratio("stores at 16 clients: 20 × SSSD", 20, "store, 16 clients, per s", "SSSD")
	for _, scenario := range diskScenarios {
		v.atLeastOf("stores in secdb at 1 client: 0.5 × "+scenario+" and fdatasync", 0.5, "store, 1 client, × "+scenario, "gosssd secdb")
		v.atLeastOf("stores in secdb at 16 clients: 2 × "+scenario+" and fdatasync", 2, "store, 16 clients, × "+scenario, "gosssd secdb")
	}
	for _, clients := range []string{"1 client", "4 clients", "16 clients"} {
		v.ratio("logins at "+clients+": 8 × SSSD", 8, "login, "+clients+", per s", "SSSD")
	}
	v.atMost("flushes of a REPLACE: 1", 1.05, "flushes per replace")
	v.growth("2000th store: at most 1.3 × the 10th", "store as number 2000, µs", "store as number 10, µs")
	v.atMost("reading 2000 credentials: below 3 ms", 3000, "read all of 2000, µs")
	v.growth("10th store in a crowd: at most 1.3 × without", "store as number 10, µs (in a crowd)", "store as number 10, µs")
	v.growth("2000th store in a crowd: at most 1.3 × without", "store as number 2000, µs (in a crowd)", "store as number 2000, µs")
	v.growth("reading 2000 in a crowd: at most 1.3 × without", "read all of 2000, µs (in a crowd)", "read all of 2000, µs")
	v.atMost("memory when idle: at most 12 MB", 12/1.048576, "memory when idle, MiB")
	v.atMost("memory after the load: at most 32 MB", 32/1.048576, "memory after the load, MiB")
	v.atMost("memory after 2000 credentials: at most 32 MB", 32/1.048576, "memory after 2000 credentials, MiB")
	v.atMost("memory after all users went idle: at most 12 MB", 12/1.048576, "memory after all users went idle, MiB")
	v.atMost("a cold system answers within 60 ms", 60, "start of an empty system, ms")
	v.atMostOf("kcm answers within 10 ms of its start", 10, "start of kcm alone, ms", "gosssd memory")
	for _, what := range []string{"store, 1 client", "store, 4 clients", "scatter, 1 client", "store, 4 clients, while all is purged"} {
		for _, s := range b.servers {
			row := what + ", p99, ms"
			if disk, ok := v.value(row, diskBeside(s)); ok {
				v.atMostOf(fmt.Sprintf("100 000 caches, %s, %s: p99 at most 3 ms (that of the bare disk beside it: %s)", s.name, what, format(disk)), 3, row, s.name)
			}
		}
	}
	for _, program := range []string{"kinit", "kvno", "klist"} {
		v.noMore(program+": at most 1.15 × a FILE cache", 1.15, program+", ms")
	}
	return v.all
}

type verdicts struct {
	*bench
	all []verdict
}

const ourDefault = "gosssd secrets"

func (v *verdicts) add(want string, got float64, met bool) {
	v.all = append(v.all, verdict{want, got, met})
}

// ratio is the median of the rounds' ratios, since a machine that is slow for a
// while is so for all servers of a round.
func (v *verdicts) ratio(want string, least float64, row, to string) {
	mine, others := v.values(row, ourDefault), v.values(row, to)
	if len(mine) == 0 || len(mine) != len(others) {
		return
	}
	ratios := make([]float64, len(mine))
	for i := range mine {
		ratios[i] = mine[i] / others[i]
	}
	v.add(want, median(ratios), median(ratios) >= least)
}

func (v *verdicts) atLeastOf(want string, least float64, row, server string) {
	if got, ok := v.value(row, server); ok {
		v.add(want, got, got >= least)
	}
}

func (v *verdicts) atMost(want string, most float64, row string) {
	v.atMostOf(want, most, row, ourDefault)
}

func (v *verdicts) atMostOf(want string, most float64, row, server string) {
	if got, ok := v.value(row, server); ok {
		v.add(want, got, got <= most)
	}
}

func (v *verdicts) growth(want, row, base string) {
	const most = 1.3
	got, ok := v.value(row, ourDefault)
	before, okBefore := v.value(base, ourDefault)
	if ok && okBefore {
		v.add(want, got/before, got <= most*before)
	}
}

func (v *verdicts) noMore(want string, most float64, row string) {
	got, ok := v.value(row, ourDefault)
	file, okFile := v.value(row, "FILE")
	if ok && okFile {
		v.add(want, got/file, got <= most*file)
	}
}
