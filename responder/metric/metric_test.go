package metric

import (
	"math"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestDurationsAreCountedInTheirBuckets(t *testing.T) {
	var d Durations
	var adding sync.WaitGroup
	for range 4 {
		adding.Go(func() {
			for range 1000 {
				d.Add(10 * time.Microsecond) // a bound belongs to its bucket
				d.Add(11 * time.Microsecond)
				d.Add(time.Hour)
			}
		})
	}
	adding.Wait()
	s := Together(nil, &d, &d)
	last := len(s.Buckets) - 1
	if s.Buckets[0] != 8000 || s.Buckets[1] != 8000 || s.Buckets[last] != 8000 || d.Count() != 12000 {
		t.Errorf("buckets are %v, and %d in all", s.Buckets, d.Count())
	}
	if want := 2 * 4000 * (21e-6 + 3600); math.Abs(s.Value-want) > 1e-3 {
		t.Errorf("the sum is %v, want %v", s.Value, want)
	}
	if n := testing.AllocsPerRun(100, func() { d.Add(time.Second) }); n != 0 {
		t.Errorf("counting allocates %v times", n)
	}
}

func TestAQuantileIsReadFromBuckets(t *testing.T) {
	bounds := []float64{1, 2, 4}
	for name, c := range map[string]struct {
		buckets []uint64
		q, want float64
	}{
		"nothing":                     {[]uint64{0, 0, 0, 0}, 0.5, 0},
		"half of one bucket":          {[]uint64{0, 10, 0, 0}, 0.5, 1.5},
		"the first from nought":       {[]uint64{10, 0, 0, 0}, 0.99, 0.99},
		"across buckets":              {[]uint64{50, 0, 50, 0}, 0.75, 3},
		"beyond the last bound":       {[]uint64{0, 0, 0, 5}, 0.5, 4},
		"another number of buckets":   {[]uint64{1, 2}, 0.5, 0},
		"the whole":                   {[]uint64{0, 0, 7, 0}, 1, 4},
		"an empty bucket at the rank": {[]uint64{5, 0, 5, 0}, 0.5, 1},
	} {
		if got := Quantile(c.q, bounds, c.buckets); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

var sample = []Family{
	{Name: "x_requests", Kind: Counter, Help: `What "came"`, Samples: []Sample{Of(3, "result", "ok", "op", "get")}},
	{Name: "x_wait_seconds", Kind: Histogram, Unit: Seconds, Help: "How long", Bounds: []float64{1e-5, 1},
		Samples: []Sample{{Labels: map[string]string{"op": "a\"b\\c\nd"}, Value: 1.5, Buckets: []uint64{2, 1, 1}}}},
	{Name: "x_build", Kind: Info, Help: "Version", Samples: []Sample{Of(1, "version", "1")}},
	{Name: "x_none", Kind: Gauge, Help: "No samples"},
	One(Gauge, "x_size_bytes", Bytes, "", "Size", 1<<40),
	{Name: "x_requests", Kind: Counter, Help: `What "came"`, Samples: []Sample{Of(4, "result", "failed", "op", "get")}},
}

func TestMetricsAreWrittenInBothFormats(t *testing.T) {
	for format, want := range map[Format]string{
		OpenMetrics: `# HELP x_build Version
# TYPE x_build info
x_build_info{version="1"} 1
# HELP x_requests What \"came\"
# TYPE x_requests counter
x_requests_total{op="get",result="ok"} 3
x_requests_total{op="get",result="failed"} 4
# HELP x_size_bytes Size
# TYPE x_size_bytes gauge
# UNIT x_size_bytes bytes
x_size_bytes 1099511627776
# HELP x_wait_seconds How long
# TYPE x_wait_seconds histogram
# UNIT x_wait_seconds seconds
x_wait_seconds_bucket{op="a\"b\\c\nd",le="1e-05"} 2
x_wait_seconds_bucket{op="a\"b\\c\nd",le="1.0"} 3
x_wait_seconds_bucket{op="a\"b\\c\nd",le="+Inf"} 4
x_wait_seconds_sum{op="a\"b\\c\nd"} 1.5
x_wait_seconds_count{op="a\"b\\c\nd"} 4
# EOF
`,
		Plain: `# HELP x_build_info Version
# TYPE x_build_info gauge
x_build_info{version="1"} 1
# HELP x_requests_total What "came"
# TYPE x_requests_total counter
x_requests_total{op="get",result="ok"} 3
x_requests_total{op="get",result="failed"} 4
# HELP x_size_bytes Size
# TYPE x_size_bytes gauge
x_size_bytes 1099511627776
# HELP x_wait_seconds How long
# TYPE x_wait_seconds histogram
x_wait_seconds_bucket{op="a\"b\\c\nd",le="1e-05"} 2
x_wait_seconds_bucket{op="a\"b\\c\nd",le="1"} 3
x_wait_seconds_bucket{op="a\"b\\c\nd",le="+Inf"} 4
x_wait_seconds_sum{op="a\"b\\c\nd"} 1.5
x_wait_seconds_count{op="a\"b\\c\nd"} 4
`,
	} {
		var got strings.Builder
		if err := Write(&got, Merge(sample), format); err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Errorf("format %d:\n%s\nwant\n%s", format, got.String(), want)
		}
	}
}

func TestWordsAddUpWhatHasOne(t *testing.T) {
	counted := Sample{Word: "loads", Buckets: []uint64{1, 2}, Value: 0.5}
	two := Of(2, "result", "ok")
	two.Word = "requests"
	words := Words([]Family{
		One(Counter, "a", "", "requests", "", 3), {Name: "b", Kind: Gauge, Samples: []Sample{two, Of(9, "result", "no")}},
		{Name: "c", Kind: Histogram, Samples: []Sample{counted}},
	})
	if len(words) != 2 || words["requests"] != 5 || words["loads"] != 3 {
		t.Errorf("words are %v", words)
	}
}
