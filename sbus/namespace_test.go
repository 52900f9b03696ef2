package sbus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// elsewhere names the environment variable that makes the test binary serve a
// bus in namespaces of its own.
const elsewhere = "GOSSSD_TEST_BUS_ELSEWHERE"

// TestServeElsewhere is no test but the process that the next test starts.
func TestServeElsewhere(t *testing.T) {
	if os.Getenv(elsewhere) == "" {
		t.Skip("it is run by TestAProcessWithoutANumberIsRefused")
	}
	_, path := startServer(t, Options{Log: hclog.New(&hclog.LoggerOptions{Output: os.Stdout})})
	fmt.Println(path)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the other closes it
}

// A server in a PID namespace sees the number 0 for a process outside, which
// elsewhere means that there is none.
func TestAProcessWithoutANumberIsRefused(t *testing.T) {
	server := exec.Command(os.Args[0], "-test.run=^TestServeElsewhere$")
	server.Env = append(os.Environ(), elsewhere+"=1")
	server.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	var out strings.Builder
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = server.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("user namespaces are switched off here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var path string
	if _, err := fmt.Fscanln(io.TeeReader(read, &out), &path); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if conn, err := Dial(testContext(t), path, nil, nil); err == nil {
		conn.Close()
		t.Error("a process without a number is admitted")
	}
	in.Close()
	if _, err := io.Copy(&out, read); err != nil {
		t.Error(err)
	}
	if err := server.Wait(); err != nil || !strings.Contains(out.String(), "outside of this PID namespace") {
		t.Errorf("%v: %s", err, out.String())
	}
}
