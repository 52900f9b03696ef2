// Package metric counts what a process does and how long it takes, and describes
// the counts: one table from which the bus, sssctl status, top and metrics are
// served. Counting allocates nothing and waits for nobody.
//
// Labels have values that this code or sssd.conf has made up, never what a
// client has sent.
package metric

import (
	"maps"
	"sync/atomic"
	"time"

	"gosssd/sbus"
)

// The kinds of families.
const (
	Counter   = "counter"   // only grows, from 0 at the start of the process
	Gauge     = "gauge"     // goes up and down
	Histogram = "histogram" // how many took how long
	Info      = "info"      // a 1 whose labels tell something
)

// The units of families; "" is a number of things.
const (
	Seconds = "seconds"
	Bytes   = "bytes"
	Ratio   = "ratio"
)

// Family is a number of samples of one meaning, as they go over the bus.
type Family = sbus.Metric

// Sample is one number of a family.
type Sample = sbus.Sample

// One returns a family of one sample without labels. word is what the method
// Counters of the bus calls it, if anything.
func One(kind, name, unit, word, help string, value float64) Family {
	return Family{Name: name, Kind: kind, Unit: unit, Help: help, Samples: []Sample{{Value: value, Word: word}}}
}

// Of returns a sample with labels, given as names and values in turn.
func Of(value float64, labels ...string) Sample {
	s := Sample{Labels: map[string]string{}, Value: value}
	for i := 0; i+1 < len(labels); i += 2 {
		s.Labels[labels[i]] = labels[i+1]
	}
	return s
}

// Total returns how often something came to a result. word is what the method
// Counters of the bus calls it.
func Total(result, word string, n uint64) Sample {
	s := Of(float64(n), "result", result)
	s.Word = word
	return s
}

// Instant is a point in time as a metric has it: seconds since 1970, 0 for none.
func Instant(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Words returns the samples that have a word, added up by it; of a histogram it
// is how many were counted.
func Words(families []Family) map[string]uint64 {
	words := map[string]uint64{}
	for _, f := range families {
		for _, s := range f.Samples {
			if s.Word == "" {
				continue
			}
			n := uint64(s.Value)
			if f.Kind == Histogram {
				n = 0
				for _, in := range s.Buckets {
					n += in
				}
			}
			words[s.Word] += n
		}
	}
	return words
}

// Label gives every sample of some families one label more.
func Label(families []Family, name, value string) {
	for _, f := range families {
		for i, s := range f.Samples {
			labels := maps.Clone(s.Labels)
			if labels == nil {
				labels = map[string]string{}
			}
			labels[name] = value
			f.Samples[i].Labels = labels
		}
	}
}

// bounds are those of all durations: from what a request takes that is answered
// from memory to the deadline of a store.
var bounds = [...]time.Duration{
	10 * time.Microsecond, 20 * time.Microsecond, 50 * time.Microsecond,
	100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 5 * time.Second, 30 * time.Second,
}

// Durations counts how long something took in fixed buckets. It is ready for use
// and safe for many goroutines; adding takes two atomic additions.
type Durations struct {
	counts [len(bounds) + 1]atomic.Uint64 // of each bucket by itself; the last has no upper bound
	sum    atomic.Int64                   // nanoseconds
}

// Add counts one duration.
func (d *Durations) Add(took time.Duration) {
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	d.counts[i].Add(1)
	d.sum.Add(int64(took))
}

// Count returns how many were added.
func (d *Durations) Count() (n uint64) {
	for i := range d.counts {
		n += d.counts[i].Load()
	}
	return n
}

// Spread returns a histogram family without samples.
func Spread(name, help string) Family {
	f := Family{Name: name, Kind: Histogram, Unit: Seconds, Help: help}
	for _, bound := range bounds {
		f.Bounds = append(f.Bounds, bound.Seconds())
	}
	return f
}

// Together returns what several Durations have counted together.
func Together(labels []string, all ...*Durations) Sample {
	s := Of(0, labels...)
	s.Buckets = make([]uint64, len(bounds)+1)
	for _, d := range all {
		for i := range d.counts {
			s.Buckets[i] += d.counts[i].Load()
		}
		s.Value += time.Duration(d.sum.Load()).Seconds()
	}
	return s
}

// Quantile returns the duration in seconds below which the fraction q of a
// histogram's samples lies, as far as the buckets tell: within one, samples count
// as spread evenly. The last bucket counts as its lower bound. It is 0 where
// nothing was counted.
func Quantile(q float64, bounds []float64, buckets []uint64) float64 {
	var total uint64
	for _, n := range buckets {
		total += n
	}
	if total == 0 || len(buckets) != len(bounds)+1 {
		return 0
	}
	rank, below := q*float64(total), 0.0
	for i, n := range buckets {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		lower := 0.0
		if i > 0 {
			lower = bounds[i-1]
		}
		if i == len(bounds) {
			return lower
		}
		return lower + (bounds[i]-lower)*(rank-below)/float64(n)
	}
	return bounds[len(bounds)-1]
}
