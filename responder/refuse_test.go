package responder

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gosssd/linux"
)

// lengthPrefixed refuses requests that begin with their length, one byte; "!"
// closes.
func lengthPrefixed(in []byte) ([]byte, int) {
	if in[0] == '!' {
		return []byte("bye"), -1
	}
	return []byte("no"), 1 + int(in[0])
}

func refusing(t *testing.T) (path string, end func() int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "socket")
	l, err := linux.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { ended <- Descriptor{Refusal: lengthPrefixed}.Refuse(ctx, l) }()
	end = func() int {
		cancel()
		n := <-ended
		ended <- n
		return n
	}
	t.Cleanup(func() { end() })
	return path, end
}

func TestEveryRequestIsAnsweredWhileAResponderCannotStart(t *testing.T) {
	path, end := refusing(t)
	first, second := dial(t, path), dial(t, path)
	long := append([]byte{200}, bytes.Repeat([]byte{'x'}, 200)...)
	for _, request := range [][]byte{{0}, {3, 'a', 'b', 'c'}, long} {
		for _, c := range []net.Conn{first, second} {
			if _, err := c.Write(request); err != nil {
				t.Fatal(err)
			}
			if got := hear(t, c); got != "no" {
				t.Errorf("answered %q", got)
			}
		}
	}
	if n := end(); n != 2 {
		t.Errorf("%d clients, want 2", n)
	}
	if err := write(first); err == nil {
		t.Error("a client may write after the end, and would wait for an answer")
	}
}

func TestAReplyThatClosesIsNotLostWhateverTheClientHasSent(t *testing.T) {
	path, _ := refusing(t)
	c := dial(t, path)
	if _, err := c.Write(append([]byte("!"), bytes.Repeat([]byte("body"), 30000)...)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "bye" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAClientThatComesAtTheEndOfRefusingIsAnswered refuses for a moment, over
// and over: whoever is not answered by the one is by the next.
func TestAClientThatComesAtTheEndOfRefusingIsAnswered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	held, err := linux.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	running, stop := context.WithCancel(t.Context())
	var refusing sync.WaitGroup
	defer refusing.Wait()
	defer stop()
	refusing.Go(func() {
		for moment := time.Microsecond; running.Err() == nil; moment = moment%(100*time.Microsecond) + time.Microsecond {
			refuseFor(t, moment, held)
		}
	})
	for i := range 1000 {
		c := dial(t, path)
		for write(c) != nil { // then libkrb5 connects again, too
			c.Close()
			c = dial(t, path)
		}
		b, err := io.ReadAll(io.LimitReader(c, 2))
		if string(b) != "no" {
			t.Fatalf("client %d is answered %q, %v", i, b, err)
		}
		c.Close()
	}
}

// refuseFor refuses the clients of a socket for a time, with a listener of its
// own as a monitor does.
func refuseFor(t *testing.T, time time.Duration, held *net.UnixListener) {
	file, err := held.File()
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	l, err := net.FileListener(file)
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	ctx, cancel := context.WithTimeout(t.Context(), time)
	defer cancel()
	Descriptor{Refusal: lengthPrefixed}.Refuse(ctx, l.(*net.UnixListener))
}
