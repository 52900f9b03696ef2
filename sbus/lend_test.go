package sbus

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"gosssd/linux"
)

func TestSocketsThatAreLentWork(t *testing.T) {
	t.Parallel()
	s, path := startServer(t, Options{})
	var sockets []*net.UnixListener
	for _, name := range []string{"one", "other"} {
		l, err := linux.Listen(filepath.Join(filepath.Dir(path), name), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, l)
	}
	c, err := Dial(testContext(t), path, nil, nil, sockets...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	for _, l := range sockets {
		_ = l.Close() // which is then the server's alone
	}
	lent := s.TakeLent(1)
	if len(lent) != len(sockets) {
		t.Fatalf("%d are lent, want %d", len(lent), len(sockets))
	}
	for i, f := range lent {
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		if at := linux.SocketPath(l); at != linux.SocketPath(sockets[i]) || !linux.ListensAt(l.(*net.UnixListener), at) {
			t.Errorf("the socket at %s cannot be connected to", at)
		}
		_, _ = f.Close(), l.Close()
	}
	if again := s.TakeLent(1); len(again) > 0 {
		t.Errorf("lent twice: %v", again)
	}
}

func TestSocketsThatNobodyTakesAreClosed(t *testing.T) {
	t.Parallel()
	s, path := startServer(t, Options{})
	l, err := linux.Listen(filepath.Join(filepath.Dir(path), "lent"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Dial(testContext(t), path, nil, nil, l)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = l.Close(), c.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("unix", filepath.Join(filepath.Dir(path), "lent"))
		if err != nil {
			break
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the socket of a client that is gone is still open")
		}
	}
	if lent := s.TakeLent(1); lent != nil {
		t.Errorf("lent by nobody: %v", lent)
	}
}
