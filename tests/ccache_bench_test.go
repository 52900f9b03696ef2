package tests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gosssd/kcm/protocol"
)

// tenThousandCaches is a system with 10 000 caches of 1000 users, none of them in
// memory.
func tenThousandCaches(b *testing.B) *system {
	if os.Getuid() != 0 {
		b.Skip("only root makes caches of others")
	}
	s := newSystem(b, kept("secdb")+"max_ccaches = 0\n").start()
	c := s.kcm()
	for i := range 10000 {
		uid := 30000 + i/10
		user, cache := principal(fmt.Sprint("user", uid)), fmt.Sprintf("%d:%d", uid, i%10)
		err := c.Initialize(cache, user)
		if err == nil {
			err = c.Store(cache, protocol.Credential{Client: user, Server: principal("krbtgt", "EXAMPLE.TEST"),
				Times: protocol.Times{End: uint32(time.Now().Add(time.Hour).Unix())}, Ticket: make([]byte, 1000)})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	s.restart()
	if _, err := c.Call(protocol.OpNoop); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkCacheList lists 10 000 caches of 1000 users, of whom sssd_kcm has
// none in memory at first, and tells the memory that sssd_kcm has taken at most
// before and after.
func BenchmarkCacheList(b *testing.B) {
	s := tenThousandCaches(b)
	before := s.highWater("sssd_kcm")
	for b.Loop() {
		got := s.ctl(user(os.Getuid()), "", "ccache", "list", "--all")
		if lines := strings.Count(got.stdout, "\n"); got.code != 0 || lines != 1+10000 {
			b.Fatalf("%d lines, %+v", lines, got.stderr)
		}
	}
	b.ReportMetric(float64(before)/(1<<20), "before-MiB")
	b.ReportMetric(float64(s.highWater("sssd_kcm"))/(1<<20), "after-MiB")
}

// BenchmarkTop has sssctl top watch them for 20 s in a terminal, and tells which
// part of a core that takes of sssctl, sssd_kcm and sssd together.
func BenchmarkTop(b *testing.B) {
	s := tenThousandCaches(b)
	if got := s.ctl(user(os.Getuid()), "", "ccache", "list", "--all"); got.code != 0 { // so that they are known
		b.Fatal(got.stderr)
	}
	const long = 20 * time.Second
	used := func() (seconds float64) { return s.processorTime("sssd_kcm") + s.processorTime("sssd") }
	for b.Loop() {
		before := used()
		top := exec.Command("script", "-qec", "stty rows 24 cols 80; exec "+s.bin+"/sssctl --root "+s.root+" top", "/dev/null")
		top.Env = append(os.Environ(), "TERM=xterm")
		keys, err := top.StdinPipe()
		if err == nil {
			err = top.Start()
		}
		if err != nil {
			b.Fatal(err)
		}
		time.Sleep(long)
		_, err = keys.Write([]byte("q"))
		if ended := top.Wait(); err != nil || ended != nil {
			b.Fatal(err, ended)
		}
		own := top.ProcessState.UserTime() + top.ProcessState.SystemTime()
		b.ReportMetric(100*(used()-before+own.Seconds())/long.Seconds(), "%-of-a-core")
	}
}

// processorTime is what a program has used of processors, in seconds (proc(5)).
func (s *system) processorTime(program string) float64 {
	s.t.Helper()
	pid := s.pid(program)
	if program == "sssd" {
		pid = s.sssd.Process.Pid
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		s.t.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var user, system float64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		s.t.Fatal(err)
	}
	return (user + system) / 100 // ticks, of which Linux has 100 a second for user space
}
