package sbus

// Metric is a family of numbers that a process counts. Its fields are, in this
// order, the members of a D-Bus struct.
type Metric struct {
	Name    string    // as OpenMetrics has it, without _total: "gosssd_kcm_requests"
	Kind    string    // counter, gauge or histogram
	Unit    string    // seconds, bytes, ratio, or ""; then the name ends with it
	Help    string    // what it is, in a sentence
	Bounds  []float64 // of a histogram: the upper bounds of its buckets but the last, which has none
	Samples []Sample
}

// Sample is one number of a Metric.
type Sample struct {
	Labels  map[string]string
	Value   float64  // of a histogram: the sum
	Buckets []uint64 // of a histogram: how many are in each bucket and in none before it

	Word string `dbus:"-"` // what Counters calls it, which adds up those of one word; "" if it is not there
}

const metricsType = "a(ssssada(a{ss}dat))"
