package confdb

import (
	"slices"
	"testing"
)

// adoptSchema has a live and a fixed option in each kind of section.
func adoptSchema() Schema {
	options := []Option{
		{Key: "limit", Kind: Int, Default: "5", Live: true},
		{Key: "storage", Kind: String, Default: "disk"},
	}
	return Schema{{Name: "kcm", Options: options}, {Name: "users/*", Options: options}}
}

func TestAProcessAdoptsLiveOptionsAndKeepsTheOthers(t *testing.T) {
	type values = map[string]map[string]string
	tests := map[string]struct {
		old, next, want values
		waiting         []string
	}{
		"a live option changes": {
			old:  values{"kcm": {"limit": "1", "storage": "disk"}},
			next: values{"kcm": {"limit": "2", "storage": "disk"}},
			want: values{"kcm": {"limit": "2", "storage": "disk"}},
		},
		"a live option is no longer set": {
			old:  values{"kcm": {"limit": "1"}},
			next: values{},
			want: values{"kcm": {"limit": "5"}},
		},
		"an option that needs a restart changes": {
			old:     values{"kcm": {"limit": "1", "storage": "tape"}},
			next:    values{"kcm": {"limit": "2", "storage": "memory"}},
			want:    values{"kcm": {"limit": "2", "storage": "tape"}},
			waiting: []string{"[kcm] storage"},
		},
		"one is set that was not": {
			next:    values{"kcm": {"storage": "memory"}},
			want:    values{"kcm": {"storage": "disk"}},
			waiting: []string{"[kcm] storage"},
		},
		"one is no longer set": {
			old:     values{"kcm": {"storage": "memory"}},
			want:    values{"kcm": {"storage": "memory"}},
			waiting: []string{"[kcm] storage"},
		},
		"one is set to its default": {
			next: values{"kcm": {"storage": "disk"}},
			want: values{"kcm": {"storage": "disk"}},
		},
		"a section of a family appears": {
			next:    values{"users/1": {"limit": "2", "storage": "tape"}},
			want:    values{"users/1": {"limit": "2", "storage": "disk"}},
			waiting: []string{"[users/1] storage"},
		},
		"a section of a family goes, but for what needs a restart": {
			old:     values{"users/1": {"limit": "2", "storage": "tape"}, "users/2": {"limit": "2"}},
			want:    values{"users/1": {"limit": "5", "storage": "tape"}},
			waiting: []string{"[users/1] storage"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			old, next := snapshotOf(t, test.old, 3), snapshotOf(t, test.next, 4)
			got, waiting := old.Adopt(next)
			if !slices.Equal(waiting, test.waiting) {
				t.Errorf("waiting: %q, want %q", waiting, test.waiting)
			}
			generation := uint64(4)
			if len(test.waiting) > 0 {
				generation = 3
			}
			if got.Generation != generation {
				t.Errorf("generation %d, want %d", got.Generation, generation)
			}
			for section, options := range test.want {
				for _, row := range got.Show(section) {
					if want, listed := options[row.Key]; listed && row.Value != want {
						t.Errorf("[%s] %s = %s, want %s", section, row.Key, row.Value, want)
					}
				}
			}
			for _, section := range got.Sections("users/") {
				if test.want[section] == nil {
					t.Errorf("[%s] is still there", section)
				}
			}
		})
	}
}

// TestWhatIsAdoptedLaterEndsTheWaiting guards that a process which was told of
// a change it could not take over is not held to have it afterwards.
func TestWhatIsAdoptedLaterEndsTheWaiting(t *testing.T) {
	type values = map[string]map[string]string
	first := snapshotOf(t, values{"kcm": {"storage": "disk"}}, 1)
	second := snapshotOf(t, values{"kcm": {"storage": "tape"}}, 2)
	inForce, _ := first.Adopt(second)
	if _, waiting := inForce.Adopt(second); len(waiting) != 1 {
		t.Errorf("the second time %q is waiting", waiting)
	}
	third := snapshotOf(t, values{"kcm": {"storage": "disk", "limit": "7"}}, 3)
	inForce, waiting := inForce.Adopt(third)
	if len(waiting) != 0 || inForce.Generation != 3 || inForce.Hash != third.Hash {
		t.Errorf("%q is waiting at generation %d, hash %s", waiting, inForce.Generation, inForce.Hash)
	}
}

func snapshotOf(t *testing.T, values map[string]map[string]string, generation uint64) *Snapshot {
	t.Helper()
	s, err := NewSnapshot(adoptSchema(), values)
	if err != nil {
		t.Fatal(err)
	}
	s.Generation = generation
	return s
}
