package vault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// someCommits is the load of the power cut: little enough to be traced.
func someCommits(dir string) error {
	v, err := Open(dir, testOptions())
	if err != nil {
		return err
	}
	if err := commitNumbers(v, 25); err != nil {
		return err
	}
	return v.Close()
}

// event is one thing a traced child did: a write to the database or its
// journal, a change of the size, a sync, or an acknowledgement.
type event struct {
	kind string
	file string
	at   int64
	data []byte
	uid  uint32
	n    int
}

// TestAPowerCutLosesNothingAcknowledged plays the writes of a child, as strace
// saw them, onto a file, and cuts the power at many places: what was synced is
// there, and of what was not, any part of its sectors.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("the test needs strace to see writes and syncs")
	}
	dir := t.TempDir()
	opts := testOptions()
	opts.journalSize = 16 << 10 // so that it is full now and then
	v := openTest(t, dir, opts)
	commit(t, v.Hive("kcm"), 99, map[string][]byte{"so that": []byte("there is a journal")})
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	before := disk{}
	for _, name := range []string{"secrets.db", "secrets.db.journal"} {
		if before[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	events := trace(t, strace, dir)
	random := rand.New(rand.NewPCG(9, 10))
	for cut := range 150 {
		at := random.IntN(len(events) + 1)
		if err := afterPowerCut(dir, before, events[:at], random); err != nil {
			t.Errorf("cut %d after event %d of %d: %v", cut, at, len(events), err)
		}
	}
	// The same cuts must show what is lost when nothing waits for the disk.
	unsynced := slices.DeleteFunc(slices.Clone(events), func(e event) bool { return e.kind == "sync" })
	lost := 0
	for range 20 {
		if afterPowerCut(dir, before, unsynced[:random.IntN(len(unsynced))], random) != nil {
			lost++
		}
	}
	if lost == 0 {
		t.Error("without syncs nothing is lost: the cuts do not cut")
	}
}

// trace runs a child under strace and returns what it did.
func trace(t *testing.T, strace, dir string) []event {
	t.Helper()
	log := filepath.Join(t.TempDir(), "trace")
	child := exec.Command(strace, "-f", "-y", "-xx", "-s", "100000000", "-o", log,
		"-e", "trace=pwrite64,fdatasync,fsync,ftruncate,write", "-e", "signal=none", os.Args[0], dir)
	child.Env = append(os.Environ(), childVariable+"=commits")
	if out, err := child.CombinedOutput(); err != nil {
		t.Skipf("the test needs a strace that may trace: %v: %.300s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var events []event
	for _, line := range finished(string(text)) {
		if e, ok := parseEvent(t, line); ok {
			events = append(events, e)
		}
	}
	kinds := map[string]int{}
	for _, e := range events {
		kinds[e.kind]++
	}
	t.Log("events: ", kinds)
	if kinds["write"] == 0 || kinds["sync"] == 0 || kinds["ack"] != 25*crashWriters {
		t.Fatalf("the trace is not complete: %v", kinds)
	}
	return events
}

// finished joins calls that strace split in two lines, at the place where they
// ended: only then is a sync done.
func finished(text string) []string {
	var lines []string
	begun := map[string]string{}
	for line := range strings.Lines(text) {
		pid, call, _ := strings.Cut(strings.TrimSpace(line), " ")
		call = strings.TrimSpace(call)
		if start, unfinished := strings.CutSuffix(call, "<unfinished ...>"); unfinished {
			begun[pid] = strings.TrimSpace(start)
			continue
		}
		if strings.HasPrefix(call, "<...") {
			_, end, _ := strings.Cut(call, "resumed>")
			call = begun[pid] + end
		}
		lines = append(lines, call)
	}
	return lines
}

func parseEvent(t *testing.T, call string) (e event, ok bool) {
	t.Helper()
	name, arguments, _ := strings.Cut(call, "(")
	arguments, result, _ := strings.Cut(arguments, ") ")
	fields := strings.Split(arguments, ", ")
	file := ""
	for _, name := range []string{"secrets.db", "secrets.db.journal"} {
		if strings.HasSuffix(strings.TrimSuffix(fields[0], ")"), hexed(name)+">") {
			file = name
		}
	}
	number := func(text string) int64 {
		n, err := strconv.ParseInt(strings.TrimSuffix(text, ")"), 10, 64)
		if err != nil {
			t.Fatalf("no number in %.200q", call)
		}
		return n
	}
	switch {
	case strings.Contains(result, "= -1"):
		return e, false
	case name == "pwrite64" && file != "":
		return event{kind: "write", file: file, at: number(fields[3]), data: unhex(t, fields[1])}, true
	case name == "ftruncate" && file != "":
		return event{kind: "size", file: file, at: number(fields[1])}, true
	case (name == "fdatasync" || name == "fsync") && file != "":
		return event{kind: "sync", file: file}, true
	case name == "write" && strings.HasPrefix(fields[0], "1<"):
		e = event{kind: "ack"}
		_, err := fmt.Sscan(string(unhex(t, fields[1])), &e.uid, &e.n)
		return e, err == nil
	}
	return e, false
}

// hexed is text as strace -xx writes it.
func hexed(text string) string {
	var b strings.Builder
	for i := range len(text) {
		fmt.Fprintf(&b, `\x%02x`, text[i])
	}
	return b.String()
}

func unhex(t *testing.T, quoted string) []byte {
	t.Helper()
	text, err := strconv.Unquote(quoted)
	if err != nil {
		t.Fatalf("not a string: %.100q", quoted)
	}
	return []byte(text)
}

const sector = 512

// disk is the contents of the files.
type disk map[string][]byte

// powerCut returns what a disk may hold after the power was cut at the end of
// events, and what had been acknowledged by then.
func powerCut(before disk, events []event, random *rand.Rand) (image disk, acknowledged map[uint32]int) {
	acknowledged = map[uint32]int{}
	var pending []event
	image = disk{}
	for name, b := range before {
		image[name] = slices.Clone(b)
	}
	apply := func(e event, keep func() bool) {
		if e.kind == "size" {
			image[e.file] = append(image[e.file], make([]byte, max(0, e.at-int64(len(image[e.file]))))...)
			return
		}
		for i := 0; i < len(e.data); i += sector {
			if keep() {
				copy(image[e.file][e.at+int64(i):], e.data[i:min(i+sector, len(e.data))])
			}
		}
	}
	for _, e := range events {
		switch e.kind {
		case "ack":
			acknowledged[e.uid] = e.n
		case "sync":
			var others []event
			for _, p := range pending {
				if p.file == e.file {
					apply(p, func() bool { return true })
				} else {
					others = append(others, p)
				}
			}
			pending = others
		default:
			pending = append(pending, e)
		}
	}
	share := random.Float64() // none, some, or nearly all of what was not synced
	for _, p := range pending {
		if p.kind == "size" && random.IntN(2) == 0 {
			break // what follows would lie beyond the end
		}
		apply(p, func() bool { return random.Float64() < share })
	}
	return image, acknowledged
}

// afterPowerCut says what is wrong with the vault after the power was cut at
// the end of events.
func afterPowerCut(dir string, before disk, events []event, random *rand.Rand) error {
	image, acknowledged := powerCut(before, events, random)
	for name, b := range image {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return err
		}
	}
	v, err := Open(dir, unsynced())
	if err != nil {
		return err
	}
	defer v.Close()
	for uid := range uint32(crashWriters) {
		if n, err := stored(v.Hive("kcm"), uid); err != nil || n < acknowledged[uid] {
			return fmt.Errorf("uid %d has %d, %w, but %d was acknowledged", uid, n, err, acknowledged[uid])
		}
	}
	return nil
}
