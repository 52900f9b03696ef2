package tests

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// greedy holds 1000 connections to each of two sockets, and connects again as
// often as one is taken from it. It says when all are made once.
const greedy = `
import os, resource, select, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
poll, connections = select.poll(), {}
def connect(path):
    c = socket.socket(socket.AF_UNIX)
    c.setblocking(False)
    while True:
        try:
            c.connect(path)
            break
        except BlockingIOError:
            pass
    connections[c.fileno()] = (c, path)
    poll.register(c, select.POLLIN)
for path in sys.argv[1:]:
    for i in range(1000):
        connect(path)
print("ready", flush=True)
poll.register(0, select.POLLIN)
while True:
    for fd, event in poll.poll():
        if fd == 0:
            sys.exit()
        c, path = connections.pop(fd)
        poll.unregister(fd)
        c.close()
        connect(path)
        time.sleep(0.001)
`

// hold lets a user hold connections until the test ends.
func (s *system) hold(u user, sockets ...string) {
	s.t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `PATH=/usr/bin:/bin exec python3 -c "$0" "$@"`, greedy}, sockets...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u), Gid: uint32(u)}}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		s.t.Fatalf("uid %d cannot connect: %q %v", u, line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
}

// Three users with 1000 connections each had kept everybody else out, root
// included, on both sockets.
func TestNobodyIsKeptOutByThreeGreedyUsers(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	needRoot(t)
	needProgram(t, "python3", "curl")
	needRealm(t)
	s := newSystem(t, "").start()
	kcm, secrets := s.path("/var/run/.heim_org.h5l.kcm-socket"), s.path("/var/run/secrets.socket")
	kept := s.kcm() // a connection from before
	if err := kept.Initialize("1000:x", principal("alice")); err != nil {
		t.Fatal(err)
	}
	var made sync.WaitGroup
	for uid := range user(3) {
		made.Go(func() { s.hold(2001+uid, kcm, secrets) })
	}
	made.Wait()

	var calls, commands []time.Duration
	for i := range 40 {
		begin := time.Now()
		if err := kept.store("1000:x", principal("alice"), fmt.Sprint(i)); err != nil {
			t.Fatalf("a connection that was there before: %v", err)
		}
		c := s.kcm()
		if _, err := c.services("1000:x"); err != nil {
			t.Fatalf("a new connection: %v", err)
		}
		c.reset()
		calls = append(calls, time.Since(begin))
	}
	for range 4 {
		begin := time.Now()
		expect(t, s.sh(1000, `KRB5CCNAME=KCM:1000:x klist`), "alice@EXAMPLE.TEST")
		expect(t, s.sh(1000, `curl -sS --max-time 20 -w '%{http_code}' -o /dev/null -H 'Content-Type: application/json' --unix-socket "$ROOT/var/run/secrets.socket" http://localhost/secrets/`), "404")
		expect(t, s.sh(0, `KRB5CCNAME=KCM:1000:x klist`), "alice@EXAMPLE.TEST")
		commands = append(commands, time.Since(begin))
	}
	slices.Sort(calls)
	slices.Sort(commands)
	t.Logf("beside 3 uids with 1000 connections each to both sockets, which connect again: 0 failures; a store and a list took at most %v, three commands %v",
		calls[len(calls)-1], commands[len(commands)-1])
	if kept.Reconnects > 0 {
		t.Errorf("the user with one connection has lost it %d times", kept.Reconnects)
	}
	expect(t, s.log("sssd_kcm"), "descriptors run short", "uid=200")
	for _, log := range []string{s.log("sssd_kcm"), s.log("sssd_secrets")} {
		if n := strings.Count(log, "\n"); n > 500 {
			t.Errorf("a log has %d lines", n)
		}
	}
}

func TestALowHardLimitOfDescriptorsIsSaid(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[kcm]\nccache_storage = memory\n")
	u := user(os.Getuid())
	if u == 0 { // who may raise the limit
		u = 20001
		if err := os.Chown(s.root, int(u), int(u)); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, s.serveUnder(u, 40, "cannot go on"), "the hard limit of open files is 40", "at least 64 are needed", "LimitNOFILE")
	expect(t, s.serveUnder(u, 100, "ready"), "fd_limit is not in force", "fd_limit=2048 limit=100")
}

// serveUnder starts sssd_kcm by hand under a limit of open files and returns
// what it has logged up to a word, at which it is ended.
func (s *system) serveUnder(u user, limit int, until string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$BIN/sssd_kcm" --root "$ROOT/under" --logger=stderr --debug-level=4`, limit))
	cmd.Env, cmd.Dir = s.env, "/"
	if int(u) != os.Getuid() {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(u), Gid: uint32(u)}}
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var out strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		out.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), until) {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}
	_ = cmd.Wait() // how it ends is not looked at
	return out.String()
}

// Levels change while every worker logs: a line whose level was switched off
// between two looks at it ended the process, and with storage in memory all
// tickets with it.
func TestDebugLevelsMayChangeUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSystem(t, "[kcm]\nccache_storage = memory\ndebug_backtrace_enabled = false\n").underRaceDetector(t).start()
	c := s.kcm()
	if err := c.Initialize(fmt.Sprintf("%d:first", os.Getuid()), principal("alice")); err != nil {
		t.Fatal(err)
	}
	before := s.pid("sssd_kcm")
	var workers sync.WaitGroup
	var done atomic.Bool
	for worker := range 4 {
		c := s.kcm()
		workers.Go(func() {
			for !done.Load() {
				_ = c.store(fmt.Sprintf("%d:missing", os.Getuid()), principal("alice"), "x") // logged as a failure
				storeMany(t, c, fmt.Sprintf("%d:w%d", os.Getuid(), worker))
			}
		})
	}
	for _, level := range []string{"9", "0", "9", "2"} {
		expect(t, s.sh(user(os.Getuid()), fmt.Sprintf(`"$BIN"/sssctl --root "$ROOT" debug-level %s`, level)), "")
	}
	done.Store(true)
	workers.Wait()
	if now := s.pid("sssd_kcm"); now != before {
		t.Errorf("sssd_kcm was process %d and is %d", before, now)
	}
}
