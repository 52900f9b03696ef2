package tests

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestTopRunsInATerminal runs it under script(1), which gives it one.
func TestTopRunsInATerminal(t *testing.T) {
	t.Parallel()
	needProgram(t, "script")
	s := newSystem(t, defaults).start()
	load(t, s.kcm())
	cmd := exec.Command("script", "-qec", "stty rows 24 cols 80; exec "+s.bin+"/sssctl --root "+s.root+" top --interval 500ms", "/dev/null")
	cmd.Env = append(os.Environ(), "TERM=xterm")
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	shown, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(3*patience, func() { _ = cmd.Process.Kill() }).Stop()
	var screen strings.Builder
	b := make([]byte, 4096)
	for asked := false; ; {
		n, err := shown.Read(b)
		screen.Write(b[:n])
		if !asked && strings.Contains(screen.String(), "q quit") {
			asked = true
			_, _ = io.WriteString(keys, "q")
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("top: %v\n%q", err, screen.String())
	}
	expect(t, screen.String(), "1 users", "CACHES", "UNSERVED")
}

func TestTopSaysThatItNeedsATerminal(t *testing.T) {
	t.Parallel()
	s := newSystem(t, defaults)
	got := s.ctl(user(os.Getuid()), "", "top")
	if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "top needs a terminal") {
		t.Errorf("%+v", got)
	}
}
