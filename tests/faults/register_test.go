package main

import (
	"testing"
	"time"
)

// The history of a cache that was made, made again, destroyed, and made by a
// login that was killed.
func historyOfACache() *register {
	r := &register{}
	r.wrote(step{Value: 1, Begin: 0, End: 10})
	r.wrote(step{Value: 2, Begin: 20, End: 30})
	r.wrote(step{Value: absent, Begin: 40, End: 50})
	r.wrote(step{Value: 3, Begin: 60, End: 70, Unsure: true})
	r.wrote(step{Value: 6, Begin: 80, End: 90})
	return r
}

func TestPlantedFaultsAreFound(t *testing.T) {
	at := func(value int, begin, end time.Duration) step { return step{Value: value, Begin: begin, End: end} }
	for name, c := range map[string]struct {
		reads []step
		own   bool

		forward []step // steps of the clock
		want    wrongs
	}{
		"each value in its time":                                    {reads: []step{at(1, 11, 12), at(2, 31, 32), at(absent, 51, 52)}},
		"either, while a write is under way":                        {reads: []step{at(1, 21, 22), at(2, 21, 22)}},
		"what was not acknowledged, or what was there":              {reads: []step{at(3, 71, 72), at(absent, 73, 74)}},
		"an acknowledged login is lost":                             {reads: []step{at(1, 31, 32)}, want: wrongs{Lost: 1}},
		"a cache is half made":                                      {reads: []step{at(half, 31, 32)}, want: wrongs{Half: 1}},
		"a destroyed cache is back":                                 {reads: []step{at(2, 51, 52)}, want: wrongs{Back: 1}},
		"a login before it was made":                                {reads: []step{at(2, 11, 12)}, want: wrongs{Unknown: 1}},
		"nobody's login":                                            {reads: []step{at(9, 11, 12)}, want: wrongs{Unknown: 1}},
		"a login that ends is gone when the clock was stepped":      {reads: []step{at(absent, 93, 94)}, forward: []step{at(0, 92, 92)}, want: wrongs{Expired: 1}},
		"what the clock has taken comes back":                       {reads: []step{at(absent, 93, 94), at(6, 95, 96)}, own: true, forward: []step{at(0, 92, 92)}, want: wrongs{Back: 1, Expired: 1}},
		"a login is gone that ends, but the clock was not stepped":  {reads: []step{at(absent, 91, 92)}, forward: []step{at(0, 65, 66), at(0, 99, 99)}, want: wrongs{Back: 0, Lost: 1}},
		"a login without an end is gone when the clock was stepped": {reads: []step{at(absent, 31, 32)}, forward: []step{at(0, 31, 31)}, want: wrongs{Lost: 1}},
		"what was not acknowledged comes late":                      {reads: []step{at(absent, 75, 76), at(3, 77, 78)}, own: true, want: wrongs{Back: 1}},
	} {
		r := historyOfACache()
		for _, read := range c.reads {
			r.saw(read, c.own)
		}
		got := r.check(name, c.forward)
		if got.First == "" == (c.want.count() > 0) {
			t.Errorf("%s: said %q", name, got.First)
		}
		got.First = ""
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
