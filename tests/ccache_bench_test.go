package tests

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// BenchmarkCacheList lists 10 000 caches of 1000 users, of whom sssd_kcm has
// none in memory, and tells the memory that sssd_kcm has taken at most before
// and after.
func BenchmarkCacheList(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("only root makes caches of others")
	}
	const users, each = 1000, 10
	s := newSystem(b, kept("secdb")+"max_ccaches = 0\n").start()
	c := s.kcm()
	for uid := 30000; uid < 30000+users; uid++ {
		for i := range each {
			cache := fmt.Sprintf("%d:%d", uid, i)
			err := c.Initialize(cache, principal(fmt.Sprint("user", uid)))
			if err == nil {
				err = c.Store(cache, protocol.Credential{Client: principal(fmt.Sprint("user", uid)), Server: principal("krbtgt", "EXAMPLE.TEST"),
					Times: protocol.Times{End: uint32(time.Now().Add(time.Hour).Unix())}, Ticket: make([]byte, 1000)})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	s.restart()
	if _, err := c.Call(protocol.OpNoop); err != nil {
		b.Fatal(err)
	}
	before := s.highWater("sssd_kcm")
	for b.Loop() {
		got := s.ctl(user(os.Getuid()), "", "ccache", "list", "--all")
		if lines := strings.Count(got.stdout, "\n"); got.code != 0 || lines != 1+users*each {
			b.Fatalf("%d lines, %+v", lines, got.stderr)
		}
	}
	b.ReportMetric(float64(before)/(1<<20), "before-MiB")
	b.ReportMetric(float64(s.highWater("sssd_kcm"))/(1<<20), "after-MiB")
}
