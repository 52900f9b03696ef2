package vault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnAFullDiskUsersReadLogInAndDelete runs onAFullDisk in a small file
// system of its own.
func TestOnAFullDiskUsersReadLogInAndDelete(t *testing.T) {
	dir := t.TempDir()
	namespace := []string{"-m"}
	if os.Geteuid() != 0 {
		namespace = []string{"-r", "-m"}
	}
	mount := slices.Concat(namespace, []string{"sh", "-c", `mount -t tmpfs -o size=24m,mode=700 tmpfs "$1"`, "sh", dir})
	if out, err := exec.Command("unshare", mount...).CombinedOutput(); err != nil {
		t.Skipf("the test needs to mount a small file system: %v: %s", err, out)
	}
	run := slices.Concat(namespace, []string{"sh", "-c", `mount -t tmpfs -o size=24m,mode=700 tmpfs "$2" && exec "$1" "$2"`, "sh", os.Args[0], dir})
	child := exec.Command("unshare", run...)
	child.Env = append(os.Environ(), childVariable+"=full")
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// login is what a user's login stores.
func login() map[string][]byte {
	return map[string][]byte{
		"ccache/0": make([]byte, 100), "ccache/0/0": make([]byte, 1500), "default": make([]byte, 16),
	}
}

// onAFullDisk is the work of the child: the first thing that goes wrong ends it.
func onAFullDisk(dir string) error {
	v, err := Open(dir, testOptions())
	if err != nil {
		return err
	}
	before := map[string][]byte{"a": bytes.Repeat([]byte("a"), 3<<20), "b": []byte("small")}
	if err := v.Hive("kcm").Commit(ctx, 1, before); err != nil {
		return err
	}
	if err := v.Hive("kcm").Commit(ctx, 2, login()); err != nil {
		return err
	}
	if err := fill(filepath.Join(dir, "filler")); err != nil {
		return err
	}
	same := func(when string) error {
		if all, err := v.Hive("kcm").Load(ctx, 1); err != nil || !sameRecords(all, before) {
			return fmt.Errorf("%s: the records read as something else, %w", when, err)
		}
		return nil
	}
	if err := refused(v, "a large change", 3, map[string][]byte{"big": make([]byte, 6<<20)}); err != nil {
		return err
	}
	if err := same("after a refused change"); err != nil {
		return err
	}
	if err := loginsBesideLargeChanges(v); err != nil {
		return err
	}
	for i := range uint32(1200) { // from the reserve, of which the next process must know what is left
		if err := v.Hive("kcm").Commit(ctx, 30000+i, map[string][]byte{"x": make([]byte, 3000)}); err != nil {
			return fmt.Errorf("user %d: %w", i, err)
		}
	}
	if v, err = openedOnAFullDisk(dir, v); err != nil {
		return err
	}
	if err := same("opened again"); err != nil {
		return err
	}
	users, err := loginsUntilFull(v)
	if err != nil {
		return err
	}
	if err := same("with the reserve used up"); err != nil {
		return err
	}
	for uid := range users {
		if err := v.Hive("kcm").Commit(ctx, 1000+uid, map[string][]byte{"ccache/0": nil, "ccache/0/0": nil, "default": nil}); err != nil {
			return fmt.Errorf("user %d cannot delete: %w", uid, err)
		}
	}
	if err := v.Hive("kcm").Discard(ctx, 1); err != nil {
		return fmt.Errorf("a large user cannot be discarded: %w", err)
	}
	if err := v.Hive("kcm").Commit(ctx, 4, login()); err != nil {
		return fmt.Errorf("a login with the reserve free again: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, "filler")); err != nil {
		return err
	}
	if err := v.Hive("kcm").Commit(ctx, 3, before); err != nil {
		return fmt.Errorf("with room again: %w", err)
	}
	return v.Close()
}

// fill writes to a file until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return nil
}

func refused(v *Vault, what string, uid uint32, changes map[string][]byte) error {
	err := v.Hive("kcm").Commit(ctx, uid, changes)
	var full interface{ Full() bool }
	if !errors.Is(err, ErrFull) || !errors.As(err, &full) || !full.Full() || !errors.Is(err, unix.ENOSPC) ||
		!bytes.Contains([]byte(err.Error()), []byte(v.path)) {
		return fmt.Errorf("%s on a full disk: %w", what, err)
	}
	if all, err := v.Hive("kcm").Load(ctx, uid); err != nil || len(all) != 0 {
		return fmt.Errorf("%s on a full disk: %d records, %w", what, len(all), err)
	}
	return nil
}

// loginsBesideLargeChanges makes small and large changes at once, so that they
// are written together: only the large ones are refused.
func loginsBesideLargeChanges(v *Vault) error {
	var group sync.WaitGroup
	failures := make(chan error, 64)
	for i := range uint32(32) {
		group.Go(func() {
			if i%4 == 0 {
				failures <- refused(v, "a large change beside others", 500+i, map[string][]byte{"big": make([]byte, 5<<20)})
			} else {
				failures <- v.Hive("kcm").Commit(ctx, 500+i, login())
			}
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

// openedOnAFullDisk leaves the vault as a crash would and opens it again. Until
// somebody makes a change, nothing is written.
func openedOnAFullDisk(dir string, v *Vault) (*Vault, error) {
	if err := v.file.store.Abandon(); err != nil {
		return nil, err
	}
	var before [2][]byte
	for i, name := range []string{"secrets.db", "secrets.db.journal"} {
		var err error
		if before[i], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	again, err := Open(dir, testOptions())
	if err != nil {
		return nil, fmt.Errorf("open on a full disk: %w", err)
	}
	if all, err := again.Hive("kcm").Load(ctx, 501); err != nil || !sameRecords(all, login()) {
		return nil, fmt.Errorf("what was in the journal: %d records, %w", len(all), err)
	}
	for i, name := range []string{"secrets.db", "secrets.db.journal"} {
		now, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(now, before[i]) {
			return nil, fmt.Errorf("opening changed %s, %w", name, err)
		}
	}
	return again, nil
}

// loginsUntilFull returns how many users could log in: many, but not for ever.
func loginsUntilFull(v *Vault) (users uint32, err error) {
	for ; users < 20000; users++ {
		err := v.Hive("kcm").Commit(ctx, 1000+users, login())
		if errors.Is(err, ErrFull) {
			if users < 100 {
				return 0, fmt.Errorf("only %d users could log in: %w", users, err)
			}
			return users, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, errors.New("the reserve has no end")
}
