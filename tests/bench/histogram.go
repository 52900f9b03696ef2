package main

import (
	"math/bits"
	"time"
)

// fineness is the number of steps in which a histogram divides a factor of two.
const fineness = 16

// histogram counts durations in steps of about 6 %.
type histogram map[int]uint64

func (h histogram) add(d time.Duration) { h[step(uint64(max(d, 0)))]++ }

func step(n uint64) int {
	if n < fineness {
		return int(n)
	}
	exponent := bits.Len64(n) - 5 // n>>exponent is in [fineness, 2*fineness)
	return exponent*fineness + int(n>>exponent)
}

// value is the least duration of a step.
func value(step int) time.Duration {
	if step < 2*fineness {
		return time.Duration(step)
	}
	exponent := step/fineness - 1
	return time.Duration((step - exponent*fineness) << exponent)
}

func (h histogram) merge(other histogram) {
	for step, n := range other {
		h[step] += n
	}
}

// percentile returns a duration that p percent of all did not exceed by more
// than a step.
func (h histogram) percentile(p float64) time.Duration {
	var total, below uint64
	last := 0
	for step, n := range h {
		total += n
		last = max(last, step)
	}
	for step := range last + 1 {
		below += h[step]
		if total > 0 && float64(below) >= p/100*float64(total) {
			return value(step)
		}
	}
	return 0
}
