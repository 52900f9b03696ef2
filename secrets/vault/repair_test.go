package vault

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
)

// damagedSpecimen is a specimen in which a record of uid 1000 and one of 1001
// in the hive kcm have changed places.
func damagedSpecimen(t *testing.T) (*specimen, *Vault) {
	t.Helper()
	s := newSpecimen(t)
	swap(t, filepath.Join(s.dir, "secrets.db"), ownerID{"kcm", 1000}, ownerID{"kcm", 1001})
	return s, openTest(t, s.dir, unsynced())
}

func TestDamagedUsersAreFound(t *testing.T) {
	_, v := damagedSpecimen(t)
	damaged, err := v.Hive("kcm").Damaged(ctx)
	if err != nil || len(damaged) != 2 || damaged[1000] == nil || damaged[1001] == nil {
		t.Errorf("kcm: %v, %v", damaged, err)
	}
	if damaged, err = v.Hive("secrets").Damaged(ctx); err != nil || len(damaged) != 0 {
		t.Errorf("secrets: %v, %v", damaged, err)
	}
}

func TestRepairKeepsWhatIsRight(t *testing.T) {
	s, v := damagedSpecimen(t)
	h := v.Hive("kcm")
	for _, uid := range []uint32{1000, 1001, 1002} {
		before := s.records[ownerID{"kcm", uid}]
		lost := 1
		if uid == 1002 {
			lost = 0
		}
		kept, deleted, err := h.Repair(ctx, uid)
		if err != nil || deleted != lost || kept != len(before)-lost {
			t.Errorf("uid %d: %d kept of %d, %d deleted, %v", uid, kept, len(before), deleted, err)
		}
		all := load(t, h, uid)
		if len(all) != kept {
			t.Errorf("uid %d has %d records", uid, len(all))
		}
		for key, value := range all {
			if value != string(before[key]) {
				t.Errorf("uid %d: %s reads as something else", uid, key)
			}
		}
		commit(t, h, uid, map[string][]byte{"new": []byte("works")})
	}
	counted := func() (n int) {
		stop := errors.New("stop")
		err := h.CommitIf(ctx, 1002, nil, func(view *View) error {
			n = view.HiveCounted()
			return stop
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		return n
	}
	before := counted()
	if damaged, err := h.Damaged(ctx); err != nil || len(damaged) != 0 {
		t.Errorf("after the repair %v, %v", damaged, err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	v = openTest(t, s.dir, unsynced())
	h = v.Hive("kcm")
	if now := counted(); now != before {
		t.Errorf("%d records are counted, and %d after opening again", before, now)
	}
}

func TestRepairGivesUpWhatIsMissing(t *testing.T) {
	s := newSpecimen(t)
	remove(t, filepath.Join(s.dir, "secrets.db"), ownerID{"kcm", 1000})
	v := openTest(t, s.dir, unsynced())
	if _, err := v.Hive("kcm").Load(ctx, 1000); !errors.Is(err, ErrDamaged) {
		t.Fatalf("before: %v", err)
	}
	kept, deleted, err := v.Hive("kcm").Repair(ctx, 1000)
	if err != nil || deleted != 0 || kept != len(s.records[ownerID{"kcm", 1000}])-1 {
		t.Errorf("%d kept, %d deleted, %v", kept, deleted, err)
	}
	if all := load(t, v.Hive("kcm"), 1000); len(all) != kept {
		t.Errorf("%d records", len(all))
	}
}

func TestAWalkReadsLargeUsersInPieces(t *testing.T) {
	h := openTest(t, t.TempDir(), unsynced()).Hive("kcm")
	big := map[string][]byte{}
	for i := range 50 {
		big[fmt.Sprint(i)] = make([]byte, 100<<10)
	}
	commit(t, h, 5, big)
	n := 0
	err := h.Each(ctx, 5, func(string, []byte) error {
		if n++; n == 1 { // nobody is kept waiting
			commit(t, h, 6, map[string][]byte{"x": []byte("y")})
		}
		return nil
	})
	if err != nil || n != 50 {
		t.Errorf("%d records, %v", n, err)
	}
	n = 0
	err = h.Each(ctx, 5, func(string, []byte) error {
		if n++; n == 1 {
			commit(t, h, 5, map[string][]byte{"0": []byte("changed")})
		}
		return nil
	})
	if !errors.Is(err, ErrChanged) {
		t.Errorf("a change in the middle: %v", err)
	}
}
