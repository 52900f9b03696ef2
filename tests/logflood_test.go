package tests

import (
	"os"
	"strings"
	"testing"

	"gosssd/kcm/protocol"
)

// A client had made 104 MB of log in 5 s with names of 9 MiB, and 40 MB in 24 s
// with requests that fail.
func TestNoClientFillsTheDiskWithLogs(t *testing.T) {
	t.Parallel()
	needDefaultLevel(t)
	s := newSystem(t, "[kcm]\nccache_storage = memory\n").start()
	c := s.kcm()
	long := protocol.AppendName(nil, strings.Repeat("x", 9<<20))
	for _, op := range []protocol.Op{protocol.OpResolve, protocol.OpGetPrincipal, protocol.OpInitialize} {
		for range 20 {
			if _, err := c.Call(op, long); err == nil {
				t.Errorf("%v takes a name of 9 MiB", op)
			}
			c.reset()
		}
	}
	garbage := []byte("\x00\xff no request")
	for range 5000 {
		for _, op := range []protocol.Op{protocol.OpStore, protocol.OpGetCredByUUID} {
			if _, err := c.Call(op, garbage); err == nil {
				t.Fatalf("%v takes garbage", op)
			}
		}
	}
	info, err := os.Stat(s.logPath("sssd_kcm"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("540 MiB of names and 10 000 failures made %d bytes of log", info.Size())
	if info.Size() > 256<<10 {
		t.Errorf("the log has %d bytes", info.Size())
	}
}
