package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/sbus"
)

// foreign are the descriptors of a child that are not its own: of all the paths
// of the monitor it has its log, its claim and its socket.
func (w *watched) foreign() (list []string) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if list = w.foreignNow(); len(list) == 0 { // else perhaps an earlier client, whose end it has not noticed yet
			break
		}
	}
	return list
}

func (w *watched) foreignNow() []string {
	w.t.Helper()
	claim := w.monitor.root.Path(layout.Current().PIDFile)
	sockets := 0
	list := strings.Fields(w.ask("descriptors"))
	if len(list) == 0 {
		w.t.Fatal("the child does not tell its descriptors")
	}
	return slices.DeleteFunc(list, func(to string) bool {
		switch {
		case to == claim:
			return false
		case strings.HasPrefix(to, "socket:"):
			sockets++
			return sockets <= 3 // its listener, this client, the private bus
		}
		return true
	})
}

func TestAChildHasNoDescriptorsOfTheMonitor(t *testing.T) {
	w := watch(t, "obeys", shortTimeouts)
	w.ask("hello")
	w.await("it registers", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning })
	if list := w.foreign(); len(list) > 0 {
		t.Errorf("before a restart: %v", list)
	}
	// A restart that fails takes back what was to outlive it.
	w.monitor.program = "/nonexistent/sssd"
	if err := w.monitor.restart(); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("restart: %v", err)
	}
	w.ask("exit 0")
	w.await("it ends", func(s sbus.ServiceStatus) bool { return s.LastExit != "" })
	w.ask("hello")
	w.await("it registers again", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning })
	if list := w.foreign(); len(list) > 0 {
		t.Errorf("after a restart that failed: %v", list)
	}
}

func TestARestartThatCannotBeIsToldAtOnce(t *testing.T) {
	w := watch(t, "obeys", shortTimeouts)
	w.monitor.flags.config = filepath.Join(string(w.monitor.root), "sssd.conf")
	if err := os.WriteFile(w.monitor.flags.config, []byte("[sssd]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string]string{"missing": "/nonexistent/sssd", "not a program": w.monitor.flags.config} {
		w.monitor.program = program
		if err := w.monitor.requestRestart(t.Context()); err == nil || !strings.Contains(err.Error(), program) {
			t.Errorf("the program is %s: %v", name, err)
		}
	}
	if w.ask("hello") == "" {
		t.Error("nothing is served any more")
	}
}

func TestASocketThatCannotBeHadIsTriedAgain(t *testing.T) {
	var inTheWay string
	w := watchFrom(t, "obeys", shortTimeouts, "1", &kept{Again: true}, func(root string) {
		inTheWay = root + "/run/fake.socket"
		if err := os.MkdirAll(inTheWay, 0o755); err != nil {
			t.Fatal(err)
		}
	})
	w.await("the socket is missed", func(s sbus.ServiceStatus) bool {
		return s.State == sbus.StateBackOff && strings.Contains(s.LastExit, "in the way")
	})
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	w.await("the socket is had", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateIdle })
	if w.ask("hello") == "" {
		t.Error("no answer")
	}
}

func TestAHungResponderIsNoticedByAClientThatWaits(t *testing.T) {
	w := watchFrom(t, "obeys", shortTimeouts, "1000", &kept{}, func(string) {}) // pings would take an hour
	w.ask("hello")
	first := w.await("it registers", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning })
	w.send("hang")
	w.await("it is stopped", func(sbus.ServiceStatus) bool { return stateOf(first.PID) == "T" })
	if w.ask("hello") == "" {
		t.Error("the client that waits is not answered")
	}
	w.await("another one runs", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning && s.PID != first.PID })
}

// stateOf is the letter of proc(5) for what a process does.
func stateOf(pid uint32) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, after, _ := strings.Cut(string(text), ") ")
	state, _, _ := strings.Cut(after, " ")
	return state
}

// A stop of sssd in the middle of a takeover must not kill what it replaces.
func TestAStopIsNoReasonToKill(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "orderly")
	cmd := exec.Command("sh", "-c", `trap 'sleep 0.3; : >"$0"; exit 0' TERM; echo ready; while :; do sleep 0.01; done`, marker)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	p, err := linux.OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Signal(syscall.SIGKILL)
	patient := defaultTimeouts
	patient.hung = 30 * time.Second
	list := []responder.Descriptor{fakeDescriptor()}
	conf, err := confdb.NewSnapshot(responder.Schema(list), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := newMonitor(list, &flags{root: responder.Root(t.TempDir())}, conf, log.To(t.Output(), log.Mask(6)), nil)
	m.services[0].timeouts = patient
	stopped, stop := context.WithCancel(t.Context())
	stop()
	m.replaceOrKeep(stopped, m.services[0], p, condition{}, false)
	if _, err := os.Stat(marker); err != nil {
		t.Error("it was killed before it had ended in order")
	}
}

func TestAStrayResponderIsEnded(t *testing.T) {
	w := watch(t, "obeys", shortTimeouts)
	// One that an earlier sssd had started: it serves another socket.
	cmd := exec.Command(w.argv[0], w.argv[1:]...)
	if err := cmd.Start(); err != nil { // with fakeVariable in the environment
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended by %v", err)
		}
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		t.Error("it is left alone")
	}
	if pid := responder.HolderPID(w.claim); pid != 0 {
		t.Errorf("the claim is still held by %d", pid)
	}
	// It had bound its own socket over the monitor's.
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("unix", w.path); err == nil {
			c.Close()
			break
		}
	}
	if w.ask("hello") == "" {
		t.Error("clients are not served any more")
	}
}
