package vault

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
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
	for _, call := range []string{"fdatasync", "fsync"} {
		for _, errno := range []string{"EIO", "ENOSPC", "EDQUOT", "EROFS"} {
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
	child := exec.Command(strace, "-f", "-qq", "-o", os.DevNull, "-e", "signal=none", "-e", "trace=fdatasync,fsync",
		"-e", "inject="+inject, os.Args[0], dir)
	child.Env = append(os.Environ(), childVariable+"=syncs")
	b, err := child.CombinedOutput()
	return string(b), err
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
			fmt.Fprintf(os.Stdout, "1 %d\n", i+1)
		case errors.As(err, &full) && full.Full():
			failed++
		case errors.Is(err, ErrDamaged):
			return fmt.Errorf("change %d: an error of the disk is taken for damage: %w", i, err)
		default:
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
