package log

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestALongValueIsWrittenWithoutItsMiddle(t *testing.T) {
	var b bytes.Buffer
	l := To(&b, Default)
	l.Warn("no such cache", "cache", "1000:"+strings.Repeat("é\n", 9<<20), "error", fmt.Errorf("open %s: no space left", strings.Repeat("x", 9<<20)))
	got := b.String()
	if len(got) > 8<<10 {
		t.Errorf("a line has %d bytes", len(got))
	}
	for _, want := range []string{`cache="1000:é`, "bytes are left out]", ": no space left"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing: %s", want, got)
		}
	}
	if strings.ContainsRune(got, '\ufffd') || strings.Contains(got, `\xa9`) || strings.Count(got, "\n") != 1 {
		t.Errorf("a letter or a line is cut: %s", got)
	}
	b.Reset()
	l.Warn(strings.Repeat("x", 9<<20))
	if b.Len() > 4<<10 {
		t.Errorf("a message has %d bytes", b.Len())
	}
}

// buffer is written by timers, too.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Reset()
}

func TestRepeatedLinesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b buffer
		one := To(&b, Default).Client(1, 1000)
		other := one.Client(2, 1001)
		lines := func() int { return strings.Count(b.String(), "\n") }
		fail := func(l *Logger, cause Cause, name int) { l.Warn("refused", "op", cause, "cache", name) }
		for i := range 1000 {
			fail(one, "STORE", i)
		}
		if lines() != firstLines {
			t.Errorf("1000 lines of one cause are written in %d, want %d", lines(), firstLines)
		}
		fail(one, "RESOLVE", 1)
		fail(other, "STORE", 1)
		if lines() != firstLines+2 {
			t.Errorf("another cause and another user: %d lines, want %d", lines(), firstLines+2)
		}
		time.Sleep(firstWindow)
		synctest.Wait()
		want := "[CID#1] 990 lines like this one were left out in 10s: refused: op=STORE cache=10\n"
		if got := b.String(); lines() != firstLines+3 || !strings.HasSuffix(got, want) {
			t.Errorf("the count is missing:\n%s", got)
		}
		b.Reset()
		for range 24 * 60 * 60 { // a day of a line each second
			time.Sleep(time.Second)
			fail(one, "STORE", 1)
		}
		if lines() == 0 || lines() > 100 {
			t.Errorf("a line each second is written %d times a day", lines())
		}
		time.Sleep(3 * lastWindow)
		synctest.Wait()
		b.Reset()
		fail(one, "STORE", 1)
		fail(one, "STORE", 2)
		if lines() != 2 {
			t.Errorf("after a rest %d of 2 lines are written", lines())
		}
		time.Sleep(firstWindow) // nothing of the test's is left waiting
	})
}

func TestLinesWithoutAUserRepeatEachOtherIfTheyAreEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		l := To(&b, Default)
		for i := range 100 {
			l.Error("cannot accept a client", "error", "too many open files")
			l.Warn("a finding", "line", i)
			l.Warn("a user's finding", "uid", i%2, "line", i)
		}
		if got := strings.Count(b.String(), "cannot accept"); got != firstLines {
			t.Errorf("equal lines are written %d times, want %d", got, firstLines)
		}
		if got := strings.Count(b.String(), "a finding"); got != 100 {
			t.Errorf("of 100 different lines %d are written", got)
		}
		if got := strings.Count(b.String(), "a user's finding"); got != 2*firstLines {
			t.Errorf("lines about two users are written %d times, want %d", got, 2*firstLines)
		}
		b.Reset()
		l.Flush()
		if got := strings.Count(b.String(), "90 lines like this one"); got != 1 {
			t.Errorf("at the end the counts are missing: %s", b.String())
		}
	})
}

func TestWhoAsksForOperationsSeesEachLine(t *testing.T) {
	var b bytes.Buffer
	l := To(&b, Mask(6)).Client(1, 1000)
	for range 100 {
		l.Warn("refused")
	}
	if got := strings.Count(b.String(), "refused"); got != 100 {
		t.Errorf("%d of 100 lines are written", got)
	}
}

func TestCausesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := To(&bytes.Buffer{}, Default)
		for uid := range 3 * maxCauses {
			l.Client(1, uint32(uid)).Warn("refused")
		}
		remembered := func() int {
			l.sink.repeats.mu.Lock()
			defer l.sink.repeats.mu.Unlock()
			return len(l.sink.repeats.causes)
		}
		if got := remembered(); got > maxCauses+1 {
			t.Errorf("%d causes are remembered", got)
		}
		time.Sleep(firstWindow)
		synctest.Wait()
		l.Flush()
		if got := remembered(); got != 0 {
			t.Errorf("%d causes are remembered for ever", got)
		}
	})
}

// Without a ring a line whose level is switched off between two looks at the
// mask had no place to go, and the process died.
func TestTheLevelMayChangeAtAnyMoment(t *testing.T) {
	for name, backtrace := range map[string]bool{"with a ring": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			l := Open(Options{Destination: "files", File: filepath.Join(t.TempDir(), "x.log"), Level: Default, Backtrace: backtrace})
			var writers sync.WaitGroup
			var done atomic.Bool
			for range 4 {
				writers.Go(func() {
					for !done.Load() {
						l.Info("settings")
						l.Debug("an operation")
						l.Warn("a failure")
					}
				})
			}
			for i := range 20000 {
				l.SetMask(Mask(int64(i % 11)))
				if i%1000 == 0 {
					if err := l.Reopen(); err != nil {
						t.Error(err)
					}
					l.Flush()
				}
			}
			done.Store(true)
			writers.Wait()
		})
	}
}

func TestALogIsARegularFile(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "precious")
	if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.log")
	for name, put := range map[string]func() error{
		"a link":             func() error { return os.Symlink(target, path) },
		"a link to nothing":  func() error { return os.Symlink(target+".missing", path) },
		"a FIFO":             func() error { return syscall.Mkfifo(path, 0o600) },
		"a FIFO that's read": func() error { return readFIFO(t, path) },
		"a directory":        func() error { return os.Mkdir(path, 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			defer os.RemoveAll(path)
			if err := put(); err != nil {
				t.Fatal(err)
			}
			if out, err := openFile(path); err == nil || out.w != os.Stderr {
				t.Errorf("it is taken for a log")
			}
		})
	}
	if data, err := os.ReadFile(target); err != nil || string(data) != "precious" {
		t.Errorf("the target of a link holds %q, %v", data, err)
	}
	if _, err := os.Lstat(target + ".missing"); err == nil {
		t.Error("the target of a link was made")
	}
}

func readFIFO(t *testing.T, path string) error {
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		return err
	}
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err == nil {
		t.Cleanup(func() { syscall.Close(fd) })
	}
	return err
}

func TestALogThatCouldNotBeOpenedIsOpenedLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log", "x.log")
	out, err := openFile(path)
	if err == nil {
		t.Fatal("a missing directory is no error")
	}
	l := &Logger{sink: newSink(Options{Level: Default}, out)}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Warn("at last")
	if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "at last") {
		t.Errorf("the log holds %q, %v", data, err)
	}
	if _, err := os.Stderr.Stat(); err != nil {
		t.Errorf("stderr is closed: %v", err)
	}
}

func TestAStandardLoggerCannotForgeLines(t *testing.T) {
	var b bytes.Buffer
	To(&b, Mask(9)).StandardLogger(nil).Print("http: panic\n(2026-11-23) [kcm] forged\x1b[2J")
	if got := b.String(); strings.Count(got, "\n") != 2 || strings.Count(got, "\n[test] [") != 1 || strings.Contains(got, "\x1b") {
		t.Errorf("got %q", got)
	}
}
