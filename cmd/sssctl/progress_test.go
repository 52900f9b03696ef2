package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
)

func TestProgressIsToldOfLongWorkAndTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := newProgress(&cobra.Command{}, "users", 200)
		p.to = &out // as if it were a terminal
		p.at(1)
		p.end()
		if out.Len() > 0 {
			t.Errorf("of short work is said %q", out.String())
		}
		for done := range 200 {
			time.Sleep(10 * time.Millisecond)
			p.at(done + 1)
		}
		p.end()
		got := strings.Split(out.String(), "\r")
		if len(got) < 10 || len(got) > 20 || got[1] != "users: 50 of 200 (25%)\x1b[K" || got[len(got)-1] != "\x1b[K" {
			t.Errorf("%q is said", got)
		}
	})
}

func TestProgressIsForTerminalsOnly(t *testing.T) {
	p := newProgress(&cobra.Command{}, "users", 2)
	if p.to != nil {
		t.Skip("the tests run on a terminal")
	}
	p.next = time.Time{}
	p.at(1) // would panic
	p.end()
}
