package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// bench is one run of all comparisons.
type bench struct {
	full    bool
	dir     string // for everything that is written
	self    string // this program, for every user to run
	bin     string // our programs
	tests   string // the directory of the scripts
	servers []*server
	rows    []*row
}

// row is one line of the table: what was measured, for each server.
type row struct {
	name   string
	values map[string][]float64 // by server, in the order of the rounds
}

func newBench(bin, tests string, full bool) (*bench, error) {
	dir, err := os.MkdirTemp("", "gosssd-bench-")
	if err != nil {
		return nil, err
	}
	b := &bench{full: full, dir: dir}
	err = os.Chmod(dir, 0o755)
	if err == nil {
		b.self, err = copyProgram(dir)
	}
	if err == nil {
		b.bin, err = filepath.Abs(bin)
	}
	if err == nil {
		b.tests, err = filepath.Abs(tests)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	b.servers = servers(b.bin, b.self, b.tests)
	return b, nil
}

// choose leaves only the servers whose names contain one of the words.
func (b *bench) choose(words string) {
	if words == "" {
		return
	}
	b.servers = slices.DeleteFunc(b.servers, func(s *server) bool {
		return !slices.ContainsFunc(strings.Split(words, ","), func(word string) bool { return strings.Contains(s.name, word) })
	})
}

func (b *bench) close() {
	for _, s := range b.servers {
		s.stop()
	}
	_ = os.RemoveAll(b.dir)
}

// note keeps one value.
func (b *bench) note(name, server string, value float64) {
	i := slices.IndexFunc(b.rows, func(r *row) bool { return r.name == name })
	if i < 0 {
		i = len(b.rows)
		b.rows = append(b.rows, &row{name: name, values: map[string][]float64{}})
	}
	b.rows[i].values[server] = append(b.rows[i].values[server], value)
}

// values are those that were noted, in the order of the rounds.
func (b *bench) values(name, server string) []float64 {
	for _, r := range b.rows {
		if r.name == name {
			return r.values[server]
		}
	}
	return nil
}

// value is the median of what was noted.
func (b *bench) value(name, server string) (float64, bool) {
	values := b.values(name, server)
	if len(values) == 0 {
		return 0, false
	}
	return median(values), true
}

// latest is what was noted last, or 0.
func (b *bench) latest(name, server string) float64 {
	values := b.values(name, server)
	if len(values) == 0 {
		return 0
	}
	return values[len(values)-1]
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// part is one of the comparisons.
type part struct {
	name  string
	run   func(*bench) error
	asked bool // only if it is named
}

// parts in the order in which they are run: those that leave much behind in
// the servers come last.
func parts() []part {
	return []part{
		{name: "load", run: (*bench).loads},
		{name: "calls", run: (*bench).systemCalls},
		{name: "programs", run: func(b *bench) error { return b.programs(b.pick(30, 150)) }},
		{name: "rested", run: (*bench).rested},
		{name: "secrets", run: (*bench).secrets},
		{name: "fill", run: (*bench).fill},
		{name: "crowd", run: (*bench).crowd},
		{name: "start", run: (*bench).starts},
		{name: "scale", run: (*bench).scale, asked: true},
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

func (b *bench) pick(quick, full int) int {
	if b.full {
		return full
	}
	return quick
}

func (b *bench) run(chosen string) error {
	for i, s := range b.servers {
		if err := s.start(filepath.Join(b.dir, fmt.Sprint("server", i))); err != nil {
			return err
		}
		b.note("memory when idle, MiB", s.name, s.idle)
	}
	for _, p := range parts() {
		if !slices.Contains(strings.Split(chosen, ","), p.name) && (chosen != "" || p.asked) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), p.name)
		if err := p.run(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// starts measures how long the first client of a server waits that was there
// before, and of a system that was not.
func (b *bench) starts() error {
	for round := range b.pick(3, 9) {
		for i, s := range b.servers {
			s.stop()
			if err := s.start(s.dir); err != nil {
				return err
			}
			b.note("start to first answer, ms", s.name, milliseconds(s.ready))
			if !s.own {
				continue
			}
			s.stop()
			alone := &server{name: s.name, socket: s.socket, command: func(dir string) (*exec.Cmd, error) {
				return exec.Command(filepath.Join(b.bin, "sssd_kcm"), "--logger=files", "--root", dir), nil
			}}
			if s.name != "gosssd secrets" { // which needs somebody to start the service
				if err := alone.start(s.dir); err != nil {
					return err
				}
				b.note("start of kcm alone, ms", s.name, milliseconds(alone.ready))
				alone.stop()
			}
			cold := *s
			if err := cold.start(filepath.Join(b.dir, fmt.Sprintf("cold%d-%d", i, round))); err != nil {
				return err
			}
			b.note("start of an empty system, ms", s.name, milliseconds(cold.ready))
			cold.stop()
		}
	}
	return nil
}
