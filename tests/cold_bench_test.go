package tests

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// BenchmarkColdStart measures from the start of sssd to the first answer of a
// system of which nothing runs: sssd, and then kcm and secrets, which the
// request activates. It reports the resident memory of each when idle.
func BenchmarkColdStart(b *testing.B) {
	memory := map[string]float64{}
	for b.Loop() {
		b.StopTimer()
		s := newSystem(b, "[sssd]\n")
		c := s.kcm()
		b.StartTimer()
		s.sssd = exec.Command(s.bin+"/sssd", "-i", "--logger=files", "--root", s.root)
		s.ended = make(chan struct{})
		if err := s.sssd.Start(); err != nil {
			b.Fatal(err)
		}
		go func() {
			defer close(s.ended)
			_ = s.sssd.Wait()
		}()
		for { // until the socket is there
			if _, err := os.Stat(s.path(sockets["sssd_kcm"])); err == nil {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
		// An unknown name is looked for in the store.
		if _, err := c.Call(protocol.OpGetCacheUUIDList, nil); err == nil {
			b.Fatal("a new system has caches")
		}
		b.StopTimer()
		for program, pid := range map[string]int{"sssd": s.sssd.Process.Pid, "kcm": s.pid("sssd_kcm"), "secrets": s.pid("sssd_secrets")} {
			memory[program] += residentMiB(b, pid)
		}
		c.reset()
		s.kill(syscall.SIGTERM)
		b.StartTimer()
	}
	for program, sum := range memory {
		b.ReportMetric(sum/float64(b.N), program+"-MiB")
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/cold-start")
}

// residentMiB is VmRSS of a process.
func residentMiB(t testing.TB, pid int) float64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.ParseFloat(string(regexp.MustCompile(`VmRSS:\s*(\d+)`).FindSubmatch(b)[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}
