package tests

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// BenchmarkTenThousandRenewals has the tickets of 10 000 users become due in the
// same moment, whose KDC is in the process of the test. It reports how many are
// renewed in a second, how much of a processor sssd_kcm takes for one, and its
// resident memory at the end.
func BenchmarkTenThousandRenewals(b *testing.B) {
	const users = 10000
	if os.Getuid() != 0 {
		b.Skip("needs root, who may make caches of others")
	}
	for b.Loop() {
		b.StopTimer()
		k := newLyingKDC(b, "EXAMPLE.TEST")
		s := newSystem(b, kept("secdb"))
		s.write("/etc/krb5.conf", realmsConf(k), 0o644)
		s.start()
		c := s.kcm()
		now := uint32(time.Now().Unix())
		tgt, err := k.TGT("alice", 18, protocol.Times{Auth: now - 36000, Start: now - 36000, End: now + 3600, RenewTill: now + 7*86400})
		if err != nil {
			b.Fatal(err)
		}
		for uid := range users {
			cache := fmt.Sprint(20000 + uid)
			if err := c.Initialize(cache, tgt.Client); err != nil {
				b.Fatal(err)
			}
			if err := c.Store(cache, tgt); err != nil {
				b.Fatal(err)
			}
		}
		s.kill(os.Interrupt)
		s.configure(kept("secdb", "tgt_renewal = true", "krb5_renew_interval = 1m"))
		b.StartTimer()
		began := time.Now()
		s.start()
		for deadline := time.Now().Add(2 * patience); k.Renewed.Load() < users; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				b.Fatalf("%d of %d are renewed", k.Renewed.Load(), users)
			}
		}
		b.StopTimer()
		b.ReportMetric(users/time.Since(began).Seconds(), "renewals/s")
		b.ReportMetric(cpuMicroseconds(b, s.pid("sssd_kcm"))/users, "cpu-µs/renewal")
		b.ReportMetric(residentMiB(b, s.pid("sssd_kcm")), "MiB")
		if asked := k.Requests.Load(); asked > users+users/100 {
			b.Errorf("%d requests for %d tickets", asked, users)
		}
		s.stop()
		b.StartTimer()
	}
}

// cpuMicroseconds is the processor time that a process has taken.
func cpuMicroseconds(t testing.TB, pid int) float64 {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields, ticks := strings.Fields(rest), 0
	for _, field := range fields[11:13] { // utime and stime, of 10 ms
		n, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) * 1e4
}
