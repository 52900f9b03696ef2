package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

func TestErrorsAreToldInAFewWords(t *testing.T) {
	for want, err := range map[string]error{
		"served":             nil,
		"ENOSPC":             fmt.Errorf("store: %w", &client.Error{Code: protocol.DiskFull}),
		"no answer":          fmt.Errorf("receive: %w", os.ErrDeadlineExceeded),
		"connection refused": &os.SyscallError{Syscall: "connect", Err: syscall.ECONNREFUSED},
		"no socket":          &os.SyscallError{Syscall: "connect", Err: syscall.ENOENT},
		"connection closed":  fmt.Errorf("receive: %w", io.EOF),
	} {
		if got := words(err); got != want {
			t.Errorf("%v is told as %q, expected %q", err, got, want)
		}
	}
}

func TestTimesAreSummedUp(t *testing.T) {
	var took []time.Duration
	for i := range 200 {
		took = append(took, time.Duration(200-i)*time.Millisecond)
	}
	var r report
	r.sum(took)
	if r.Requests != 200 || r.Median != 101*time.Millisecond || r.P99 != 199*time.Millisecond || r.Longest != 200*time.Millisecond {
		t.Errorf("%+v", r)
	}
}

func TestAReplacementFitsIntoAFrame(t *testing.T) {
	for _, n := range []int{3, 115_000} {
		b := frame(protocol.OpReplace, replacement("20001:t", n, 0))
		if _, size, err := protocol.CutRequest(b); err != nil || size != len(b) {
			t.Errorf("%d tickets: %d bytes of %d, %v", n, size, len(b), err)
		}
	}
}

func TestTheLineThatTellsIsFound(t *testing.T) {
	s := &server{side: &side{}, dir: t.TempDir()}
	logs := filepath.Join(s.dir, "var/log/sssd")
	if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	old := "(2026-01-01  0:00:00): [sssd] [x] (0x0020): No space left on device: old\n"
	text := old + "(2026-01-01  0:00:01): [sssd] [x] (0x0020): all is well\n" +
		"(2026-01-01  0:00:02): [sssd] [x] (0x0020): write " + s.dir + "/db: No space left | here\n"
	if err := os.WriteFile(logs+"/sssd.log", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := s.found(len(old), []string{"no space"}); got != "(0x0020): write /db: No space left / here" {
		t.Errorf("found %q", got)
	}
	if got := s.found(len(text), []string{"no space"}); got != "nothing" {
		t.Errorf("found %q", got)
	}
}

func TestTheTableHasARowForEachServer(t *testing.T) {
	b := &bench{attacked: []attackRow{{attacks[0], "before", report{}}, {attacks[0], "gosssd", report{Failures: 2, First: "no answer"}}},
		faults: []faultRow{{fault: "f", side: "gosssd", lost: "0"}}}
	text := b.tables()
	for _, row := range []string{"\n| nobody attacks | before |", "\n|  | gosssd |", "| 2, first: no answer |", "\n| f | gosssd |  | 0 |"} {
		if !strings.Contains(text, row) {
			t.Errorf("no %q in\n%s", row, text)
		}
	}
}
