package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// What is promised to an honest user whatever another does, and to the machine.
const (
	hostileP99    = 50 * time.Millisecond
	hostileMemory = 1016 << 20 // the sum of the bounds in ARCHITECTURE.md, "Memory"
	hostileLeft   = 10 << 20   // more than before the attack, after the rest
)

// hostileRest is by when memory is to be back: sssd_kcm gives it back once a
// minute.
const hostileRest = 90 * time.Second

// hostileRow is what an attack came to on a server that had just started.
type hostileRow struct {
	attackRow
	before, after int64 // resident bytes of all its processes
	gone          bool  // it did not survive
	server        *server
}

// missed says which promises were not kept.
func (r *hostileRow) missed() string {
	var all []string
	for what, kept := range map[string]bool{
		"p99": r.P99 < hostileP99, "failures": r.Failures == 0, "bound of memory": r.KCM < hostileMemory,
		"memory given back": r.after <= r.before+hostileLeft, "survival": !r.gone && !r.Stopped, "requests": r.Requests > 0,
	} {
		if !kept {
			all = append(all, what)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// runHostile lays each attack on new servers, and looks at their memory when
// they have rested. An error is a promise of this build that was not kept.
func (b *bench) runHostile() (failed error) {
	for _, a := range hostile {
		for _, sd := range b.sides {
			if !strings.Contains(a.name, b.only) || !strings.Contains(sd.name, b.onlySide) {
				continue
			}
			s, err := b.start(sd, options{})
			if err != nil {
				return err
			}
			row := &hostileRow{attackRow: attackRow{attack: a, side: s.name}, server: s}
			row.before = sum(s.resident())
			if row.report, err = b.attack(s, a); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s, %s: %w", a.name, s.name, err))
			}
			fmt.Fprintf(os.Stderr, "%s, %s: %+v\n", a.name, s.name, row.report)
			b.hostiles = append(b.hostiles, row)
		}
	}
	for deadline := time.Now().Add(hostileRest); ; time.Sleep(time.Second) {
		waited := false
		for _, row := range b.hostiles {
			row.after = sum(row.server.resident())
			row.gone = row.after == 0
			waited = waited || row.after > row.before+hostileLeft
		}
		if !waited || time.Now().After(deadline) {
			break
		}
	}
	for _, row := range b.hostiles {
		if missed := row.missed(); missed != "" && row.side == "gosssd" {
			failed = errors.Join(failed, fmt.Errorf("%s: missed: %s", row.attack.name, missed))
		}
		row.server.stop()
	}
	return failed
}

func sum(a, b int64) int64 { return a + b }

func (b *bench) tableOfHostile(t *strings.Builder) {
	t.WriteString("\n## Hostile clients, new servers\n\n" +
		"| Attack | Server | honest requests | failed | p99 ms | longest ms | MiB before | at most | after | missed |\n" +
		"|---|---|---:|---:|---:|---:|---:|---:|---:|---|\n")
	last := ""
	for _, r := range b.hostiles {
		name := r.attack.name
		if name == last {
			name = ""
		}
		last = r.attack.name
		failed := fmt.Sprint(r.Failures)
		if r.Failures > 0 {
			failed += ", first: " + r.First
		}
		missed := r.missed()
		if missed == "" {
			missed = "–"
		}
		fmt.Fprintf(t, "| %s | %s | %d | %s | %s | %s | %s | %s | %s | %s |\n", name, r.side, r.Requests, failed, ms(r.P99), ms(r.Longest),
			mib(r.before), mib(r.KCM+r.Secrets), mib(r.after), missed)
	}
}
