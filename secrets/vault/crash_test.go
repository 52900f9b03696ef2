package vault

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// childVariable names the work that the test binary does as a child process of
// itself, in the directory that its argument names.
const childVariable = "VAULT_TEST_CHILD"

func TestMain(m *testing.M) {
	work := map[string]func(dir string) error{"write": writeForever, "rekey": rekeyForever, "life": aLife, "full": onAFullDisk, "syncs": onAFailingDisk}
	if name := os.Getenv(childVariable); name != "" {
		if err := work[name](os.Args[len(os.Args)-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const crashWriters = 4

// writeForever commits rising numbers, two records each time, and says on its
// output what was acknowledged.
func writeForever(dir string) error {
	opts := testOptions()
	opts.journalSize = 64 << 10 // so that it is full often
	v, err := Open(dir, opts)
	if err != nil {
		return err
	}
	fmt.Println("open")
	return commitNumbers(v, 1<<30)
}

// commitNumbers goes on from what is stored, up to a number of commits each.
func commitNumbers(v *Vault, commits int) error {
	var group sync.WaitGroup
	failures := make(chan error, crashWriters)
	for uid := range uint32(crashWriters) {
		group.Go(func() {
			h := v.Hive("kcm")
			n, err := stored(h, uid)
			for range commits {
				if err != nil {
					break
				}
				n++
				value := []byte(strconv.Itoa(n))
				last := fmt.Sprint("big ", n%5)
				err = h.Commit(ctx, uid, map[string][]byte{"a": value, "b": value, last: make([]byte, 100*(n%40))})
				if err == nil {
					fmt.Fprintf(os.Stdout, "%d %d\n", uid, n)
				}
			}
			failures <- err
		})
	}
	group.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// stored returns a writer's number. Its two records must agree.
func stored(h *Hive, uid uint32) (int, error) {
	all, err := h.Load(ctx, uid)
	if err != nil {
		return 0, err
	}
	if string(all["a"]) != string(all["b"]) {
		return 0, fmt.Errorf("half a commit: %q and %q", all["a"], all["b"])
	}
	if all["a"] == nil {
		return 0, nil
	}
	return strconv.Atoi(string(all["a"]))
}

// rekeyForever rekeys again and again while it writes.
func rekeyForever(dir string) error {
	v, err := Open(dir, testOptions())
	if err != nil {
		return err
	}
	fmt.Println("open")
	failed := make(chan error, 2)
	go func() { failed <- commitNumbers(v, 1<<30) }()
	go func() {
		for {
			if err := v.Rekey(ctx); err != nil {
				failed <- err
				return
			}
		}
	}()
	return <-failed
}

// killed runs a child, kills it after a while, and returns what it had
// acknowledged.
func killed(t *testing.T, work, dir string, after time.Duration) map[uint32]int {
	t.Helper()
	child := exec.Command(os.Args[0], dir)
	child.Env = append(os.Environ(), childVariable+"="+work)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() { // "open"
		t.Fatal("the child did not start")
	}
	timer := time.AfterFunc(after, func() { child.Process.Kill() })
	defer timer.Stop()
	acknowledged := map[uint32]int{}
	for lines.Scan() {
		var uid uint32
		var n int
		if _, err := fmt.Sscan(lines.Text(), &uid, &n); err == nil {
			acknowledged[uid] = n
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended by itself")
	}
	return acknowledged
}

// crash kills children and checks after each what they had acknowledged.
func crash(t *testing.T, work string, cycles int) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(7, 8))
	total := 0
	for cycle := range cycles {
		acknowledged := killed(t, work, dir, time.Duration(random.IntN(60))*time.Millisecond)
		v := openTest(t, dir, testOptions())
		for uid := range uint32(crashWriters) {
			n, err := stored(v.Hive("kcm"), uid)
			if err != nil {
				t.Fatalf("cycle %d: %v", cycle, err)
			}
			if n < acknowledged[uid] {
				t.Fatalf("cycle %d: uid %d has %d, but %d was acknowledged", cycle, uid, n, acknowledged[uid])
			}
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		total += len(acknowledged)
	}
	if total == 0 {
		t.Error("nothing was ever acknowledged")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || left != nil {
		t.Errorf("files %v are left, %v", left, err)
	}
}

// cycles is how often children are killed; VAULT_TEST_CYCLES asks for more.
func cycles(t *testing.T) int {
	t.Helper()
	text := os.Getenv("VAULT_TEST_CYCLES")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKillingAWriterLosesNothingAcknowledged(t *testing.T) { crash(t, "write", cycles(t)) }

func TestKillingARekeyLosesNothing(t *testing.T) { crash(t, "rekey", cycles(t)) }
