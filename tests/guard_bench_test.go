package tests

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// BenchmarkKvno measures a whole kvno for a service whose ticket the cache lacks:
// by itself, with a FILE and with a KCM cache, and with the server that gets it.
// They take turns, so that the ratios are of one run.
func BenchmarkKvno(b *testing.B) {
	r, err := sharedRealm()
	if err != nil {
		b.Fatal(err)
	}
	itself, server := newGetting(b, r.dir, kept("secdb")), newGetting(b, r.dir, getting("guard = yes", "debug_level = 2"))
	kvno := func(s *system, cache string) time.Duration {
		cmd := exec.Command("kvno", "-q", "host/server.example.test")
		cmd.Env = append(os.Environ(), "KRB5_CONFIG="+s.path("/krb5.conf"), "KRB5CCNAME="+cache)
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		return time.Since(began)
	}
	itself.sh(0, "echo secret | kinit alice")
	creds, err := itself.kcm().Credentials("0")
	if err != nil {
		b.Fatal(err)
	}
	tgt := creds[len(creds)-1]
	file := b.TempDir() + "/ccache"
	var sums [3]time.Duration
	for i := 0; b.Loop(); i++ {
		cache := fmt.Sprintf("0:%d", i)
		for _, s := range []*system{itself, server} {
			c := s.kcm()
			if err := c.Initialize(cache, tgt.Client); err != nil {
				b.Fatal(err)
			}
			if err := c.Store(cache, tgt); err != nil {
				b.Fatal(err)
			}
			c.reset()
		}
		if err := os.WriteFile(file, fileCache(tgt), 0o600); err != nil {
			b.Fatal(err)
		}
		sums[0] += kvno(itself, "FILE:"+file)
		sums[1] += kvno(itself, "KCM:"+cache)
		sums[2] += kvno(server, "KCM:"+cache)
	}
	for i, name := range []string{"FILE", "itself", "server"} {
		b.ReportMetric(sums[i].Seconds()*1000/float64(b.N), "ms/"+name)
	}
	b.ReportMetric(sums[2].Seconds()/sums[1].Seconds(), "server/itself")
}
