package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// calls counts the system calls of a server while clients work. It slows the
// server down, so nothing else is measured meanwhile.
func (b *bench) calls(s *server, l load, steps int) (map[string]int, error) {
	summary := filepath.Join(b.dir, "strace.txt")
	watch := func() (func(), error) { return trace(s.processes(), summary) }
	if m := l.run(b.self, s.path(), 0, steps, watch); m.failed != nil {
		return nil, m.failed
	}
	return readSummary(summary)
}

// trace attaches strace to processes, and returns what detaches it.
func trace(pids []int, summary string) (func(), error) {
	args := []string{"-f", "-qq", "-c", "-U", "calls,name", "-o", summary}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	strace := exec.Command("strace", args...)
	if err := strace.Start(); err != nil {
		return nil, err
	}
	detach := func() {
		_ = strace.Process.Signal(syscall.SIGINT)
		_ = strace.Wait()
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		all := true
		for _, pid := range pids {
			all = all && traced(pid)
		}
		if all {
			return detach, nil
		}
		if time.Now().After(deadline) {
			detach()
			return nil, fmt.Errorf("strace does not attach to %v", pids)
		}
	}
}

// traced reports whether every thread of a process has a tracer.
func traced(pid int) bool {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		return false
	}
	for _, status := range tasks {
		b, err := os.ReadFile(status)
		if err == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

func readSummary(path string) (map[string]int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	counts := map[string]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 2 {
			continue
		}
		if n, err := strconv.Atoi(fields[0]); err == nil {
			counts[fields[1]] += n
		}
	}
	delete(counts, "total")
	return counts, lines.Err()
}

// flushes is the number of calls that wait for the disk.
func flushes(counts map[string]int) int {
	return counts["fdatasync"] + counts["fsync"] + counts["msync"] + counts["sync_file_range"]
}
