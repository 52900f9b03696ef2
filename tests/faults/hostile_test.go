package main

import (
	"testing"
	"time"
)

func TestPromisesThatWereMissedAreNamed(t *testing.T) {
	t.Parallel()
	kept := hostileRow{attackRow: attackRow{report: report{Requests: 160}}}
	kept.P99, kept.before.own, kept.after = 49*time.Millisecond, 5<<20, resident{own: 15 << 20, files: 99 << 20}
	for want, change := range map[string]func(*hostileRow){
		"":                  func(*hostileRow) {},
		"p99":               func(r *hostileRow) { r.P99, r.idle.P99 = 52*time.Millisecond, 49*time.Millisecond },
		"p99 undecided":     func(r *hostileRow) { r.P99, r.idle.P99 = 99*time.Millisecond, 50*time.Millisecond },
		"memory given back": func(r *hostileRow) { r.after.own++ },
		"failures, p99":     func(r *hostileRow) { r.Failures, r.P99, r.idle.P99 = 1, 100*time.Millisecond, 50*time.Millisecond },
	} {
		row := kept
		change(&row)
		if got := row.missed(); got != want {
			t.Errorf("missed: %q, want %q", got, want)
		}
	}
}
