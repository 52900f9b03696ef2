package quota

import (
	"errors"
	"testing"
	"time"

	"gosssd/secrets"
)

func TestRecordsAddUpToSecrets(t *testing.T) {
	type sum struct {
		unit    string
		counted bool
	}
	for key, want := range map[string][2]sum{ // as a secret of a user, and of a cache
		"a":              {{"a", true}, {"a", true}},
		"default":        {{"default", true}, {"default", false}},
		"c/":             {{containers, false}, {containers, false}},
		"c/a":            {{"c/a", true}, {"c/a", true}},
		"/":              {{containers, false}, {containers, false}},
		"ccache/":        {{containers, false}, {containers, false}},
		"ccache/x":       {{"ccache/x", true}, {"ccache/x", true}},
		"ccache/x/0001":  {{"ccache/x/0001", true}, {"ccache/x", false}},
		"ccache/x/00/01": {{"ccache/x/00/01", true}, {"ccache/x", false}},
		"ccache//x":      {{"ccache//x", true}, {"ccache//x", true}},
	} {
		for i, rule := range []func(string) (string, bool){Users, KCM} {
			if unit, counted := rule(key); (sum{unit, counted}) != want[i] {
				t.Errorf("rule %d: %q is part of %q, counted %v, want %v", i, key, unit, counted, want[i])
			}
		}
	}
}

func TestEveryContainerHasTheSameSize(t *testing.T) {
	for _, now := range []time.Time{time.Unix(0, 0), time.Now(), time.Date(9999, 12, 31, 23, 59, 59, 999, time.FixedZone("", 12345))} {
		if n := int64(len(Container(now))); n != ContainerSize {
			t.Errorf("%v: %d bytes, not %d", now, n, ContainerSize)
		}
	}
}

// state is a View of one user of two.
type state map[string]int

func (s state) Has(key string) bool   { _, has := s[key]; return has }
func (s state) Size(key string) int64 { return int64(s[key]) }
func (s state) HiveCounted() int      { return s.Counted() + 1 }

func (s state) Counted() (n int) {
	for key := range s {
		if _, counted := Users(key); counted {
			n++
		}
	}
	return n
}

func (s state) UnitSize(unit string) (sum int64, err error) {
	for key, size := range s {
		if of, _ := Users(key); of == unit {
			sum += int64(size)
		}
	}
	return sum, nil
}

func TestChangesAreRefusedOnlyIfTheyMakeMore(t *testing.T) {
	limits := secrets.Quota{Secrets: 4, UIDSecrets: 2, Payload: 10}
	full := state{"a": 10, "b": 5, "c/": int(ContainerSize), "d/": int(ContainerSize)}
	value := func(n int) []byte { return make([]byte, n) }
	for name, c := range map[string]struct {
		limits  secrets.Quota
		state   state
		changes map[string][]byte
		want    error
	}{
		"room for one more":                  {limits, state{"a": 1}, map[string][]byte{"b": value(10)}, nil},
		"one secret too many of a user":      {limits, full, map[string][]byte{"x": value(1)}, ErrUserSecrets},
		"one secret too many of all":         {secrets.Quota{Secrets: 3}, full, map[string][]byte{"x": value(1)}, ErrAllSecrets},
		"one for another":                    {limits, full, map[string][]byte{"x": value(1), "a": nil}, nil},
		"a secret that is too large":         {limits, state{}, map[string][]byte{"x": value(11)}, ErrTooLarge},
		"a secret that grows too large":      {limits, full, map[string][]byte{"b": value(11)}, ErrTooLarge},
		"a secret that is replaced":          {limits, full, map[string][]byte{"a": value(10)}, nil},
		"a container too many":               {limits, full, map[string][]byte{"e/": value(int(ContainerSize))}, ErrUserContainers},
		"a container for another":            {limits, full, map[string][]byte{"e/": value(int(ContainerSize)), "d/": nil}, nil},
		"containers where there is no limit": {secrets.Quota{Payload: 1}, full, map[string][]byte{"e/": value(int(ContainerSize))}, nil},
		"less where quotas were lowered":     {secrets.Quota{Secrets: 1, UIDSecrets: 1, Payload: 1}, full, map[string][]byte{"a": value(9), "c/": nil}, nil},
	} {
		if err := Check(c.limits, c.state, Users, c.changes); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
