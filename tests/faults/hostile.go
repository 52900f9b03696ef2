package main

import (
	"cmp"
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
	hostileMemory = 1016 << 20 // all that is resident: the sum of the bounds in ARCHITECTURE.md, "Memory"
	hostileLeft   = 10 << 20   // more of their own than before the attack, after the rest
)

// hostileRest is by when memory is to be back: the responders give it back once
// a minute, and large caches leave it with the second minute without a request.
const hostileRest = 150 * time.Second

// hostileRow is what an attack came to on a server that had just started.
type hostileRow struct {
	attackRow
	idle          report   // of the client of an idle server meanwhile
	before, after resident // of all its processes
	gone          bool     // it did not survive
	server        *server
}

// missed says which promises were not kept.
func (r *hostileRow) missed() string {
	all := []string{r.late()}
	for what, kept := range map[string]bool{
		"failures": r.Failures == 0, "bound of memory": r.KCM < hostileMemory,
		"memory given back": r.after.own <= r.before.own+hostileLeft, "survival": !r.gone && !r.Stopped, "requests": r.Requests > 0,
	} {
		if !kept {
			all = append(all, what)
		}
	}
	slices.Sort(all)
	return strings.Join(slices.DeleteFunc(all, func(what string) bool { return what == "" }), ", ")
}

// late says whether the honest client waited too long. Where the client of an
// idle server did too, that may be the machine's doing.
func (r *hostileRow) late() string {
	switch {
	case r.P99 < hostileP99:
		return ""
	case r.idle.P99 >= hostileP99 && r.P99 < r.idle.P99+hostileP99:
		return "p99 undecided"
	}
	return "p99"
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
			beside, err := b.startIdle()
			if err != nil {
				return err
			}
			if row.report, err = b.attack(s, a); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s, %s: %w", a.name, s.name, err))
			}
			if row.idle, err = beside.finish(); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s, %s: %w", a.name, s.name, err))
			}
			fmt.Fprintf(os.Stderr, "%s, %s: %+v\nan idle server: %+v\n", a.name, s.name, row.report, row.idle)
			b.hostiles = append(b.hostiles, row)
		}
	}
	for deadline := time.Now().Add(hostileRest); ; time.Sleep(time.Second) {
		waited := false
		for _, row := range b.hostiles {
			row.after = sum(row.server.resident())
			row.gone = row.after == resident{}
			waited = waited || row.after.own > row.before.own+hostileLeft
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

func sum(a, b resident) resident { return resident{a.own + b.own, a.files + b.files} }

func (b *bench) tableOfHostile(t *strings.Builder) {
	t.WriteString("\n## Hostile clients, new servers\n\n" +
		"| Attack | Server | honest requests | failed | p99 ms | longest ms | idle server, p99 ms | longest ms | own MiB before | after | with files, before | at most | after | missed |\n" +
		"|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|\n")
	var attacks names
	for _, r := range b.hostiles {
		fmt.Fprintf(t, "| %s | %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", attacks.next(r.attack.name), r.side, r.Requests, r.failed(),
			ms(r.P99), ms(r.Longest), ms(r.idle.P99), ms(r.idle.Longest),
			mib(r.before.own), mib(r.after.own), mib(r.before.all()), mib(r.KCM+r.Secrets), mib(r.after.all()), cmp.Or(r.missed(), "–"))
	}
}
