package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

var ctx = context.Background()

func testOptions() Options {
	return Options{File: "secrets.db", OwnerUID: uint32(os.Geteuid())}
}

func openTest(t testing.TB, dir string, opts Options) *Vault {
	t.Helper()
	v, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

func commit(t testing.TB, h *Hive, uid uint32, changes map[string][]byte) {
	t.Helper()
	if err := h.Commit(ctx, uid, changes); err != nil {
		t.Fatal(err)
	}
}

func load(t testing.TB, h *Hive, uid uint32) map[string]string {
	t.Helper()
	all, err := h.Load(ctx, uid)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for key, value := range all {
		texts[key] = string(value)
	}
	return texts
}

func want(t testing.TB, h *Hive, uid uint32, expected map[string]string) {
	t.Helper()
	if got := load(t, h, uid); !maps.Equal(got, expected) {
		t.Errorf("uid %d has %q, want %q", uid, got, expected)
	}
}

func TestRecordsOutliveTheVault(t *testing.T) {
	dir := t.TempDir()
	v := openTest(t, dir, testOptions())
	h := v.Hive("kcm")
	commit(t, h, 1000, map[string][]byte{"default": []byte("a"), "ccache/a": []byte("header"), "empty": {}})
	commit(t, h, 1000, map[string][]byte{"default": []byte("b"), "ccache/a": nil, "absent": nil})
	commit(t, h, 1<<32-1, map[string][]byte{"default": []byte("last")})
	commit(t, h, 7, map[string][]byte{"x": []byte("y")})
	commit(t, h, 7, map[string][]byte{"x": nil})
	for range 2 {
		want(t, h, 1000, map[string]string{"default": "b", "empty": ""})
		want(t, h, 1<<32-1, map[string]string{"default": "last"})
		want(t, h, 7, map[string]string{})
		want(t, v.Hive("secrets"), 1000, map[string]string{})
		owners, err := h.Owners(ctx)
		if err != nil || fmt.Sprint(owners) != "[1000 4294967295]" {
			t.Errorf("owners %v, %v", owners, err)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		v = openTest(t, dir, testOptions())
		h = v.Hive("kcm")
	}
}

func TestOneRecordIsReadByItself(t *testing.T) {
	h := openTest(t, t.TempDir(), testOptions()).Hive("secrets")
	commit(t, h, 5, map[string][]byte{"a": []byte("1"), "empty": {}})
	for key, expected := range map[string][]byte{"a": []byte("1"), "empty": {}, "b": nil} {
		value, err := h.Get(ctx, 5, key)
		if err != nil || !bytes.Equal(value, expected) || (value == nil) != (expected == nil) {
			t.Errorf("%s is %q, %v", key, value, err)
		}
	}
}

func TestNothingReadableIsOnDisk(t *testing.T) {
	dir := t.TempDir()
	v := openTest(t, dir, testOptions())
	commit(t, v.Hive("secrets"), 5, map[string][]byte{"name-of-a-secret": []byte("text-of-a-secret")})
	v.Close()
	data, err := os.ReadFile(filepath.Join(dir, "secrets.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"name-of-a-secret", "text-of-a-secret"} {
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("the file contains %q", text)
		}
	}
	if !bytes.Contains(data, []byte(hivePrefix+"secrets")) {
		t.Error("the search finds nothing at all")
	}
}

func TestRefusedChangesAreNotMade(t *testing.T) {
	h := openTest(t, t.TempDir(), testOptions()).Hive("secrets")
	refusal := errors.New("no")
	err := h.CommitIf(ctx, 5, map[string][]byte{"a": []byte("1")}, func(*View) error { return refusal })
	if !errors.Is(err, refusal) {
		t.Errorf("error %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.Load(canceled, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("load: %v", err)
	}
	var size *SizeError
	if err := h.Commit(ctx, 5, map[string][]byte{string(make([]byte, MaxKey+1)): {}}); !errors.As(err, &size) || !size.Quota() {
		t.Errorf("long key: %v", err)
	}
	if err := h.Commit(ctx, 5, map[string][]byte{"": {}}); err == nil {
		t.Error("an empty key was accepted")
	}
	want(t, h, 5, map[string]string{})
}

func TestConditionsSeeEveryEarlierChange(t *testing.T) {
	opts := testOptions()
	opts.Rules = map[string]Rule{"secrets": everyRecord}
	h := openTest(t, t.TempDir(), opts).Hive("secrets")
	const limit, writers = 10, 40
	full := errors.New("full")
	var group sync.WaitGroup
	var refused sync.Map
	for i := range writers {
		group.Go(func() {
			err := h.CommitIf(ctx, uint32(i%4), map[string][]byte{fmt.Sprint(i): []byte("x")}, func(v *View) error {
				if v.HiveCounted() >= limit {
					return full
				}
				return nil
			})
			if errors.Is(err, full) {
				refused.Store(i, true)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	count := 0
	refused.Range(func(any, any) bool { count++; return true })
	if count != writers-limit {
		t.Errorf("%d of %d were refused by a limit of %d", count, writers, limit)
	}
}

func TestSumsFollowTheRecords(t *testing.T) {
	opts := testOptions()
	opts.Rules = map[string]Rule{"h": func(key string) (string, bool) { return key[:1], len(key) == 1 }}
	dir := t.TempDir()
	v := openTest(t, dir, opts)
	type sums struct {
		own, hive int
		unit      int64
		keys      int
	}
	see := func(uid uint32) (s sums) {
		t.Helper()
		stop := errors.New("seen")
		err := v.Hive("h").CommitIf(ctx, uid, nil, func(view *View) error {
			size, err := view.UnitSize("a")
			keys, keysErr := view.Keys()
			s = sums{view.Counted(), view.HiveCounted(), size, len(keys)}
			return errors.Join(stop, err, keysErr)
		})
		if err.Error() != stop.Error() {
			t.Fatal(err)
		}
		return s
	}
	expect := func(uid uint32, expected sums) {
		t.Helper()
		if got := see(uid); got != expected {
			t.Errorf("uid %d: %+v, want %+v", uid, got, expected)
		}
	}
	commit(t, v.Hive("h"), 1, map[string][]byte{"a": []byte("12"), "a1": []byte("345"), "b": []byte("6")})
	expect(1, sums{own: 2, hive: 2, unit: 5, keys: 3})
	commit(t, v.Hive("h"), 2, map[string][]byte{"a": []byte("1")})
	commit(t, v.Hive("h"), 1, map[string][]byte{"a1": []byte("3"), "a2": []byte("4567"), "b": nil})
	for range 2 {
		expect(1, sums{own: 1, hive: 2, unit: 7, keys: 3})
		expect(2, sums{own: 1, hive: 2, unit: 1, keys: 1})
		v.Close()
		v = openTest(t, dir, opts)
	}
	if err := v.Hive("h").Discard(ctx, 1); err != nil {
		t.Fatal(err)
	}
	expect(1, sums{own: 0, hive: 1})
}

func TestClosedVaultsSaySo(t *testing.T) {
	h, err := OpenHive(t.TempDir(), "kcm", testOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Commit(ctx, 1, map[string][]byte{"a": {}}); !errors.Is(err, ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if _, err := h.Load(ctx, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("load: %v", err)
	}
	if err := h.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second close: %v", err)
	}
}

func TestASecondProcessIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	openTest(t, dir, testOptions())
	opts := testOptions()
	opts.LockTimeout = 1
	if _, err := Open(dir, opts); !errors.Is(err, ErrInUse) {
		t.Errorf("error %v", err)
	}
}
