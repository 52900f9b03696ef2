package vault

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// untilRekeyed waits for a rekey that Open has resumed.
func untilRekeyed(t *testing.T, v *Vault) {
	t.Helper()
	for {
		v.rekeying <- struct{}{} // free when nothing runs
		yes, err := v.underway()
		<-v.rekeying
		if err != nil {
			t.Fatal(err)
		}
		if !yes {
			return
		}
	}
}

// filled opens a vault with n records in each of several owners and hives.
func filled(t *testing.T, dir string, n int) *Vault {
	t.Helper()
	v := openTest(t, dir, unsynced())
	for _, hive := range []string{"kcm", "secrets", "third"} {
		for uid := range uint32(5) {
			commit(t, v.Hive(hive), uid, filling(n, hive, uid))
		}
	}
	return v
}

func filling(n int, hive string, uid uint32) map[string][]byte {
	changes := map[string][]byte{}
	for i := range n {
		changes[fmt.Sprint(i)] = fmt.Appendf(nil, "%s %d %d", hive, uid, i)
	}
	return changes
}

func wantFilled(t *testing.T, v *Vault, n int) {
	t.Helper()
	for _, hive := range []string{"kcm", "secrets", "third"} {
		for uid := range uint32(5) {
			all, err := v.Hive(hive).Load(ctx, uid)
			if err != nil || !sameRecords(all, filling(n, hive, uid)) {
				t.Errorf("uid %d of %s: %d records, %v", uid, hive, len(all), err)
			}
		}
	}
}

func TestRekeyLeavesNothingUnderTheOldKey(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, ".secrets.mkey")
	v := filled(t, dir, 200)
	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Rekey(ctx); err != nil {
		t.Fatal(err)
	}
	wantFilled(t, v, 200)
	commit(t, v.Hive("kcm"), 1, map[string][]byte{"0": []byte("kcm 1 0")})
	v.Close()
	current, err := os.ReadFile(key)
	if err != nil || bytes.Equal(current, old) {
		t.Errorf("the key file was not replaced: %v", err)
	}
	if _, err := os.Stat(key + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the new key file is still there: %v", err)
	}
	id, err := newMasterKey(old, "")
	if err != nil {
		t.Fatal(err)
	}
	if n := sealedUnder(t, filepath.Join(dir, "secrets.db"), id.id); n != 0 {
		t.Errorf("%d records are sealed under the old key", n)
	}
	journal, err := os.ReadFile(filepath.Join(dir, "secrets.db.journal"))
	if err != nil || bytes.Contains(journal, id.id[:]) {
		t.Errorf("the journal has records under the old key, %v", err)
	}
	wantFilled(t, openTest(t, dir, testOptions()), 200)
}

// sealedUnder counts what is sealed under a key in a closed file.
func sealedUnder(t *testing.T, path string, id keyID) (n int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, bucket *bbolt.Bucket) error {
			return bucket.ForEach(func(_, sealed []byte) error {
				if len(sealed) >= sealOverhead && bytes.Equal(sealed[1:sealHeader], id[:]) {
					n++
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRekeyWhileTheVaultIsInUse(t *testing.T) {
	v := filled(t, t.TempDir(), 300)
	done := make(chan error, 1)
	go func() { done <- v.Rekey(ctx) }()
	h := v.Hive("third")
	for i := 0; ; i++ {
		commit(t, h, 4, map[string][]byte{"1": fmt.Append(nil, i)})
		if got := load(t, h, 4); got["1"] != fmt.Sprint(i) || len(got) != 300 {
			t.Fatalf("after change %d: %q of %d", i, got["1"], len(got))
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			commit(t, h, 4, map[string][]byte{"1": []byte("third 4 1")})
			wantFilled(t, v, 300)
			return
		default:
		}
	}
}

func TestARekeyGoesOnWhereItWasCutShort(t *testing.T) {
	for name, steps := range map[string]int{"before the first step": 0, "after the first step": 1, "before the last step": 100} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			v := filled(t, dir, 200)
			if err := v.startRekey(ctx); err != nil {
				t.Fatal(err)
			}
			walk := &resealing{}
			for range steps {
				if walk.done {
					break
				}
				if err := v.change(ctx, 0, func(b *batch) (refused, failed error) { return nil, walk.step(b) }); err != nil {
					t.Fatal(err)
				}
			}
			v.Close()
			v = openTest(t, dir, unsynced())
			wantFilled(t, v, 200)
			untilRekeyed(t, v)
			wantFilled(t, v, 200)
			if _, err := os.Stat(filepath.Join(dir, ".secrets.mkey.new")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the new key file is still there: %v", err)
			}
		})
	}
}

func TestTheLastStepOfARekeyIsTakenWhenOpened(t *testing.T) {
	dir := t.TempDir()
	v := filled(t, dir, 10)
	key := filepath.Join(dir, ".secrets.mkey")
	old, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Rekey(ctx); err != nil {
		t.Fatal(err)
	}
	v.Close()
	if err := os.Rename(key, key+".new"); err != nil {
		t.Fatal(err)
	}
	write(t, key, old, 0o600)
	wantFilled(t, openTest(t, dir, testOptions()), 10)
	if now, err := os.ReadFile(key); err != nil || bytes.Equal(now, old) {
		t.Errorf("the key file is the old one: %v", err)
	}
}

func TestARekeyDoesNotDropTheKeyOfDamagedRecords(t *testing.T) {
	s := newSpecimen(t)
	swap(t, filepath.Join(s.dir, "secrets.db"), ownerID{"kcm", 1000}, ownerID{"kcm", 1001})
	v := openTest(t, s.dir, unsynced())
	if err := v.Rekey(ctx); !errors.Is(err, ErrDamaged) {
		t.Errorf("error %v", err)
	}
	for _, uid := range []uint32{1000, 1001} {
		if err := v.Hive("kcm").Discard(ctx, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Rekey(ctx); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, ".secrets.mkey.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the new key file is still there: %v", err)
	}
}

func TestCompactionGivesBackFreeSpace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets.db")
	v := filled(t, dir, 10)
	big := map[string][]byte{}
	for i := range 100 {
		big[fmt.Sprint("big ", i)] = make([]byte, 40000)
	}
	commit(t, v.Hive("kcm"), 9, big)
	if err := v.Hive("kcm").Discard(ctx, 9); err != nil {
		t.Fatal(err)
	}
	v.Close()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	v = openTest(t, dir, testOptions())
	wantFilled(t, v, 10)
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if after.Size() > before.Size()/4 || after.Mode() != 0o600 {
		t.Errorf("%d bytes became %d, mode %v", before.Size(), after.Size(), after.Mode())
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || left != nil {
		t.Errorf("files %v are left, %v", left, err)
	}
}
