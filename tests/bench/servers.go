package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gosssd/kcm/protocol"
)

// server is one of those that are compared.
type server struct {
	name    string
	what    string // for the legend
	durable bool
	replace bool   // it knows REPLACE
	own     bool   // one of ours
	conf    string // more of its sssd.conf, where it is one of ours

	// command starts it; its files belong into dir.
	command func(dir string) (*exec.Cmd, error)
	socket  string   // below dir, where clients find it
	pids    []string // files below dir that name its processes; none: the command's own

	dir     string
	process *exec.Cmd
	output  bytes.Buffer
	idle    float64       // MiB after the first answer
	ready   time.Duration // from start to the first answer
}

func (s *server) path() string { return filepath.Join(s.dir, s.socket) }

// start starts the server in an empty directory and measures how long its
// first client waits.
func (s *server) start(dir string) error {
	s.dir = dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cmd, err := s.command(dir)
	if err != nil {
		return err
	}
	_ = os.Remove(s.path()) // that an earlier process left
	s.output.Reset()
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.process = cmd
	if err := s.await(20 * time.Second); err != nil {
		s.stop()
		return fmt.Errorf("%s does not answer: %w\n%s", s.name, err, s.output.String())
	}
	s.ready = time.Since(begin)
	s.idle = s.memory()
	return nil
}

// await asks for a list of caches, which every server has to look for, until
// it is answered.
func (s *server) await(limit time.Duration) error {
	c := newConn(s.path(), true)
	defer c.close()
	for deadline := time.Now().Add(limit); ; time.Sleep(200 * time.Microsecond) {
		if _, err := os.Lstat(s.path()); err == nil {
			if _, err = c.call(frame(protocol.OpGetCacheUUIDList)); err == nil {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return errors.New("no answer")
		}
	}
}

// processes are those whose memory and system calls count.
func (s *server) processes() []int {
	var pids []int
	for _, file := range s.pids {
		b, err := os.ReadFile(filepath.Join(s.dir, file))
		if err != nil {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			pids = append(pids, pid)
		}
	}
	if len(s.pids) == 0 && s.process != nil {
		pids = append(pids, s.process.Process.Pid)
	}
	return pids
}

// memory is VmRSS in MiB of the process that serves the protocol.
func (s *server) memory() float64 {
	pids := s.processes()
	if len(pids) == 0 {
		return 0
	}
	return residentMiB(pids[0])
}

func residentMiB(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib / 1024
}

func (s *server) stop() {
	if s.process == nil {
		return
	}
	rest := s.processes()
	_ = s.process.Process.Signal(syscall.SIGTERM)
	killer := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(-s.process.Process.Pid, syscall.SIGKILL) })
	_ = s.process.Wait()
	killer.Stop()
	for _, pid := range rest { // responders outlive a monitor
		if pid != s.process.Process.Pid {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	s.process = nil
}

// freePort returns a port on which nobody listens.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
