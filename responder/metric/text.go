package metric

import (
	"bufio"
	"cmp"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Format is a form of text in which metrics are exchanged.
type Format int

const (
	// OpenMetrics is that of OpenMetrics 1.0, which is what Prometheus asks for.
	OpenMetrics Format = iota
	// Plain is the older text format 0.0.4 of Prometheus, the only one that
	// node_exporter reads from files. In it a counter has the name of its
	// samples, units are not told, and nothing marks the end.
	Plain
)

// Merge puts the samples of families that have one name together, in the order
// of the names.
func Merge(families []Family) []Family {
	var merged []Family
	place := map[string]int{}
	for _, f := range families {
		i, known := place[f.Name]
		if !known {
			place[f.Name] = len(merged)
			f.Samples = slices.Clone(f.Samples)
			merged = append(merged, f)
			continue
		}
		merged[i].Samples = append(merged[i].Samples, f.Samples...)
	}
	slices.SortFunc(merged, func(a, b Family) int { return cmp.Compare(a.Name, b.Name) })
	return merged
}

// Write writes families as text. Those of one name must have been merged.
func Write(to io.Writer, families []Family, format Format) error {
	w := &writer{Writer: bufio.NewWriter(to), format: format}
	for _, f := range families {
		if len(f.Samples) > 0 {
			w.family(f)
		}
	}
	if format == OpenMetrics {
		w.print("# EOF\n")
	}
	return w.Flush()
}

// writer writes text; an error is kept by the buffer, and returned by its Flush.
type writer struct {
	*bufio.Writer
	format Format
}

func (w *writer) print(parts ...string) {
	for _, part := range parts {
		_, _ = w.WriteString(part)
	}
}

func (w *writer) family(f Family) {
	name, kind, suffix := f.Name, f.Kind, ""
	switch f.Kind {
	case Counter:
		suffix = "_total"
	case Info:
		suffix = "_info"
	}
	if w.format == Plain {
		name, suffix = name+suffix, ""
		if kind == Info {
			kind = Gauge
		}
	}
	w.print("# HELP ", name, " ", w.help(f.Help), "\n", "# TYPE ", name, " ", kind, "\n")
	if w.format == OpenMetrics && f.Unit != "" {
		w.print("# UNIT ", name, " ", f.Unit, "\n")
	}
	for _, s := range f.Samples {
		if f.Kind == Histogram {
			w.histogram(name, f.Bounds, s)
		} else {
			w.sample(name+suffix, s.Labels, "", number(s.Value))
		}
	}
}

// histogram writes the buckets, each of which counts those before it too.
func (w *writer) histogram(name string, bounds []float64, s Sample) {
	var total uint64
	for i, n := range s.Buckets {
		total += n
		le := "+Inf"
		if i < len(bounds) {
			le = number(bounds[i])
			if w.format == OpenMetrics && !strings.ContainsAny(le, ".e") {
				le += ".0"
			}
		}
		w.sample(name+"_bucket", s.Labels, le, strconv.FormatUint(total, 10))
	}
	w.sample(name+"_sum", s.Labels, "", number(s.Value))
	w.sample(name+"_count", s.Labels, "", strconv.FormatUint(total, 10))
}

// sample writes one line; le is the bound of a bucket, "" for all else.
func (w *writer) sample(name string, labels map[string]string, le, value string) {
	w.print(name)
	begin := "{"
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		w.print(begin, key, `="`, quoted.Replace(labels[key]), `"`)
		begin = ","
	}
	if le != "" {
		w.print(begin, `le="`, le, `"`)
		begin = ","
	}
	if begin == "," {
		w.print("}")
	}
	w.print(" ", value, "\n")
}

var (
	quoted    = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
	plainHelp = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

func (w *writer) help(text string) string {
	if w.format == Plain {
		return plainHelp.Replace(text)
	}
	return quoted.Replace(text)
}

func number(v float64) string {
	if v == float64(int64(v)) && v > -1e15 && v < 1e15 {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
