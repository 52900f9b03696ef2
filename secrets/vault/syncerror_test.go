package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"gosssd/linux/powercut"
)

// TestAnErrorOfASyncIsDoubt has each sync of a child fail in turn. What is told
// of a change must be true: made, refused, or unknown. After each of them the
// vault goes on.
func TestAnErrorOfASyncIsDoubt(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("the test needs strace to make syncs fail")
	}
	errnos := []string{"EIO", "ENOSPC"}
	if os.Getenv("VAULT_TEST_CYCLES") != "" {
		errnos = append(errnos, "EDQUOT", "EROFS") // which take the way of ENOSPC
	}
	for _, call := range []string{"fdatasync", "fsync"} {
		for _, errno := range errnos {
			t.Run(call+" "+errno, func(t *testing.T) {
				t.Parallel()
				failed := 0
				for ; ; failed++ {
					out, err := withFailingSync(strace, t.TempDir(), fmt.Sprintf("%s:error=%s:when=%d", call, errno, failed+1))
					if err != nil {
						t.Fatalf("%s %d: %v: %s", call, failed+1, err, out)
					}
					if strings.Contains(out, "no change failed") {
						break
					}
				}
				if failed < 3 {
					t.Errorf("only %d syncs failed", failed)
				}
			})
		}
	}
}

// withFailingSync runs the child with an error that strace injects.
func withFailingSync(strace, dir, inject string) (out string, err error) {
	child := exec.Command(strace, "-f", "--seccomp-bpf", "-qq", "-o", os.DevNull, "-e", "signal=none", "-e", "trace=pwrite64,ftruncate,fdatasync,fsync,fallocate",
		"-e", "inject="+inject, os.Args[0], dir)
	child.Env = append(os.Environ(), childVariable+"=syncs", "GORACE=atexit_sleep_ms=0")
	b, err := child.CombinedOutput()
	return string(b), err
}

// TestADiskThatTakesNoWritesForAWhile: that a file system was remounted
// read-only, as after an error, that it is full, or fails, is told of each
// change. When it takes writes again, the vault does too.
func TestADiskThatTakesNoWritesForAWhile(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("the test needs strace to make writes fail")
	}
	for errno, word := range map[string]string{
		"EROFS": "read-only file system", "ENOSPC": "no space left on device", "EDQUOT": "disk quota exceeded", "EIO": "input/output error",
	} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			out, err := withFailingSync(strace, t.TempDir(), "pwrite64,ftruncate,fdatasync,fsync,fallocate:error="+errno+":when=10..11")
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if !strings.Contains(out, word) || !strings.Contains(out, "secrets.db") || !strings.Contains(out, "made 9\n") {
				t.Errorf("the change that failed, or the last one, is missing:\n%s", out)
			}
		})
	}
}

// TestAPowerCutAfterAnErrorOfASync: what a sync did not bring to the disk, the
// next one does not bring there either. It is acknowledged only when it was
// written again.
func TestAPowerCutAfterAnErrorOfASync(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(11, 12))
	dir := t.TempDir()
	const places = 12
	for place := range places {
		fails := fmt.Sprintf("fdatasync:error=%s:when=%d", [2]string{"EIO", "ENOSPC"}[place%2], 3+place)
		if place >= 8 {
			fails = fmt.Sprintf("fsync:error=%s:when=%d", [2]string{"EIO", "ENOSPC"}[place%2], place-5)
		}
		trace := traced(t, "syncs", "-e", "inject="+fails)
		if _, _, failures := trace.Count(); failures == 0 {
			t.Fatalf("%s: no sync failed", fails)
		}
		for state := range trace.States(powerCuts(t, 240)/places, random) {
			if err := valueAfter(dir, state); err != nil {
				t.Errorf("%s, the power after event %d: %v", fails, state.After, err)
			}
		}
	}
}

// valueAfter says what is wrong with the value after the power was cut.
func valueAfter(dir string, state powercut.State) error {
	if err := state.Write(dir); err != nil {
		return err
	}
	made, refused := -1, map[int]bool{}
	for line := range strings.Lines(state.Said) {
		var what string
		var n int
		if _, err := fmt.Sscan(strings.ReplaceAll(line, ":", " "), &what, &n); err != nil {
			continue
		}
		switch what {
		case "made":
			made = n
		case "refused":
			refused[n] = true
		}
	}
	v, err := Open(dir, unsynced())
	if err != nil {
		return err
	}
	defer v.Close()
	all, err := v.Hive("kcm").Load(ctx, 1)
	if err != nil || string(all["a"]) != string(all["b"]) {
		return fmt.Errorf("half a change: %q and %q, %w", all["a"], all["b"], err)
	}
	n := -1
	if all["a"] != nil {
		if n, err = strconv.Atoi(string(all["a"])); err != nil {
			return err
		}
	}
	if n < made || refused[n] {
		return fmt.Errorf("it is %d, but %d was made, and refused were %v", n, made, refused)
	}
	return nil
}

// onAFailingDisk is the work of the child. Strace counts the calls of each
// thread by itself, so all changes are made by one.
func onAFailingDisk(dir string) error {
	runtime.LockOSThread()
	opts := testOptions()
	opts.journalSize = 16 << 10
	v, failed, err := openedOnAFailingDisk(dir, opts)
	if err != nil {
		return err
	}
	possible := []string{""}
	for i := range 10 {
		next := strconv.Itoa(i)
		changes := map[string][]byte{"a": []byte(next), "b": []byte(next)}
		if i%3 == 1 {
			changes["big"] = make([]byte, 9000) // not by the journal
		}
		err := v.Hive("kcm").Commit(ctx, 1, changes)
		var full interface{ Full() bool }
		switch {
		case err == nil:
			possible = []string{next}
			fmt.Fprintf(os.Stdout, "made %d\n", i)
		case errors.As(err, &full) && full.Full():
			fmt.Fprintf(os.Stdout, "refused %d: %v\n", i, err)
			failed++
		case errors.Is(err, ErrDamaged):
			return fmt.Errorf("change %d: an error of the disk is taken for damage: %w", i, err)
		default:
			fmt.Fprintln(os.Stdout, "unknown:", err)
			failed++
			possible = append(possible, next)
		}
		if possible, err = oneOf(v, possible); err != nil {
			return fmt.Errorf("after change %d: %w", i, err)
		}
	}
	if err := v.Close(); err != nil {
		failed++
	}
	if failed == 0 {
		fmt.Println("no change failed")
	}
	if v, err = Open(dir, opts); err != nil {
		return err
	}
	if _, err := oneOf(v, possible); err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	return v.Close()
}

// openedOnAFailingDisk opens a vault; that too may meet the one error.
func openedOnAFailingDisk(dir string, opts Options) (v *Vault, failed int, err error) {
	if v, err = Open(dir, opts); err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, ErrKey) {
		return v, 0, err
	}
	failed++
	v, err = Open(dir, opts)
	return v, failed, err
}

// oneOf reads the value, which must be one of the possible ones, and is the only
// one from then on.
func oneOf(v *Vault, possible []string) ([]string, error) {
	all, err := v.Hive("kcm").Load(ctx, 1)
	if err != nil {
		return nil, err
	}
	if got := string(all["a"]); got != string(all["b"]) || !slices.Contains(possible, got) {
		return nil, fmt.Errorf("it is %q and %q, and should be one of %q", got, all["b"], possible)
	}
	return []string{string(all["a"])}, nil
}
