package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// tables are the results as Markdown.
func (b *bench) tables() string {
	var t strings.Builder
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(&t, "Made on %s in %v; %s. Load %s at the beginning, %s at the end.\n",
		b.began.Format("2006-01-02"), time.Since(b.began).Round(time.Second), machine(), b.load, strings.Join(strings.Fields(string(load))[:3], " "))
	for _, s := range b.sides {
		if s.version != "" {
			fmt.Fprintf(&t, "%s is version %s of Debian.\n", s.name, s.version)
		}
	}
	if len(b.attacked) > 0 {
		b.tableOfAttacks(&t)
	}
	if b.soak != nil {
		b.tableOfSoak(&t)
	}
	if len(b.histories) > 0 {
		b.tableOfHistories(&t)
	}
	if len(b.hostiles) > 0 {
		b.tableOfHostile(&t)
	}
	if len(b.faults) > 0 {
		t.WriteString("\n## Faults\n\n| Fault | Server | What clients saw | Lost | Resumed by itself | What the administrator reads |\n|---|---|---|---|---|---|\n")
		var faults names
		for _, f := range b.faults {
			fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %s |\n", faults.next(f.fault), f.side, f.saw, f.lost, f.resumed, f.reads)
		}
	}
	return t.String()
}

func (b *bench) tableOfAttacks(t *strings.Builder) {
	t.WriteString("\n## What one user can take\n\n" +
		"| Attack | Server | sssd_kcm MiB | sssd_secrets MiB | log KiB | honest requests | failed | median ms | p99 ms | longest ms | the attacker |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|\n")
	var attacks names
	for _, a := range b.attacked {
		failed := a.failed()
		if a.Stopped {
			failed += " (stopped above 3 GiB)"
		}
		fmt.Fprintf(t, "| %s | %s | %d | %s | %d | %d | %s | %s | %s | %s | %s |\n", attacks.next(a.attack.name), a.side, a.KCM>>20, mib(a.Secrets), a.LogSize>>10,
			a.Requests, failed, ms(a.Median), ms(a.P99), ms(a.Longest), a.Attacker)
	}
	if b.only != "" {
		return
	}
	t.WriteString("\n## After all attacks\n\n| Server | sssd_kcm, sssd_secrets MiB | a minute later MiB | kill -9, then the attacker reads 9 MiB | most memory then MiB |\n|---|---|---|---|---|\n")
	for _, r := range b.reloads {
		fmt.Fprintf(t, "| %s | %d, %s | %d, %s | %s | %d, %s |\n", r.side, r.kcmBefore>>20, mib(r.secBefore), r.kcmAfter>>20, mib(r.secAfter), r.saw,
			r.kcmReloaded>>20, mib(r.secLoaded))
	}
}

// names are those of the first column, which leaves out one that is the same as
// in the row above.
type names struct{ last string }

func (n *names) next(name string) string {
	if name == n.last {
		return ""
	}
	n.last = name
	return name
}

// failed is how many requests failed, and of what the first.
func (r *report) failed() string {
	if r.Failures == 0 {
		return "0"
	}
	return fmt.Sprintf("%d, first: %s", r.Failures, r.First)
}

// mib is nothing where there is no such process.
func mib(bytes int64) string {
	if bytes == 0 {
		return "-"
	}
	return fmt.Sprint(bytes >> 20)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

func machine() string {
	model := "unknown processor"
	cpu, _ := os.ReadFile("/proc/cpuinfo")
	if _, rest, ok := strings.Cut(string(cpu), "model name\t: "); ok {
		model, _, _ = strings.Cut(rest, "\n")
	}
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, Linux %s, %s", runtime.NumCPU(), strings.TrimSpace(model), strings.TrimSpace(string(release)), runtime.Version())
}
