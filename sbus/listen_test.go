package sbus

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestListen(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, path string)
		fails   string
	}{
		"nothing is there": {},
		"a socket nobody listens at is replaced": {prepare: func(t *testing.T, path string) {
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			l.Close()
		}},
		"a start that was cut short is cleaned up": {prepare: func(t *testing.T, path string) {
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".bus~ABC"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		"a file is left alone": {prepare: func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, fails: "no socket"},
		"the directory is missing": {prepare: func(t *testing.T, path string) {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}, fails: "no such file"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d", "bus")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if tc.prepare != nil {
				tc.prepare(t, path)
			}
			l, err := Listen(path)
			if tc.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fails) {
					t.Fatalf("error is %v, want one with %q", err, tc.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

func TestTheSocketHasMode0600WhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o077, 0o777} {
		path := filepath.Join(t.TempDir(), "bus")
		old := syscall.Umask(umask)
		l, err := Listen(path)
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != socketMode {
			t.Errorf("umask %03o: mode is %v", umask, info.Mode())
		}
	}
}

func TestAPathTheKernelWouldNotTakeIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("x", 107))
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "are possible") {
		t.Errorf("Listen: %v", err)
	}
	if _, err := Dial(testContext(t), path, nil, nil); err == nil || !strings.Contains(err.Error(), "are possible") {
		t.Errorf("Dial: %v", err)
	}
}

// A client that connected before the socket was replaced is still served by who
// listened then.
func TestReplacingASocketDisturbsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	accepted, err := first.Accept()
	if err != nil {
		t.Fatal(err)
	}
	accepted.Close()
}
