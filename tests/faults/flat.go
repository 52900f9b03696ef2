package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func listening(port int) bool {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// sample notes all measures while sessions rest, so that connections of the
// moment are not counted. A process that is being replaced is looked at the next
// time.
func (k *soak) sample() {
	k.resting.Lock()
	defer k.resting.Unlock()
	time.Sleep(soakSettles)
	values := map[string]float64{}
	for _, program := range []string{"sssd", "sssd_kcm", "sssd_secrets"} {
		pid := k.process.Process.Pid
		if program != "sssd" {
			pid = k.pid(program)
		}
		descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if pid == 0 || err != nil || len(descriptors) == 0 {
			return
		}
		values[program+", memory"] = float64(memory(pid, "RssAnon")) / (1 << 20)
		values[program+", descriptors"] = float64(len(descriptors))
		values[program+", threads"] = float64(memory(pid, "Threads") >> 10)
	}
	files, _ := filepath.Glob(k.data() + "/secrets/*.db*")
	var size int64
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			size += info.Size()
		}
	}
	values["databases, size"] = float64(size) / (1 << 20)
	k.times = append(k.times, time.Since(k.began).Seconds())
	for _, name := range sortedNames(values) {
		i := slices.IndexFunc(k.measures, func(m *measure) bool { return m.name == name })
		if i < 0 {
			i = len(k.measures)
			k.measures = append(k.measures, newMeasure(name))
		}
		k.measures[i].values = append(k.measures[i].values, values[name])
	}
}

func sortedNames(values map[string]float64) []string {
	var names []string
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// newMeasure knows what is noise: a megabyte that the collector has not
// come to, connections of the renewal and of sssctl, threads that block.
func newMeasure(name string) *measure {
	m := &measure{name: name, floor: 1, unit: "MiB"}
	switch {
	case strings.HasSuffix(name, "descriptors"):
		m.unit, m.floor = "", soakClients
	case strings.HasSuffix(name, "threads"):
		m.unit, m.floor = "", 2
	}
	return m
}

// warm is the number of samples before what is compared begins.
func (k *soak) warm() int {
	warmUp := min(soakWarmUp, k.lasts/4).Seconds()
	n, _ := slices.BinarySearch(k.times, warmUp)
	return n
}

// growth compares the median of the last third with that of the first third
// after the warm-up.
func (m *measure) growth(warm int) (first, last float64, flat bool) {
	values := m.values[min(warm, len(m.values)):]
	third := len(values) / 3
	if third == 0 {
		return 0, 0, false
	}
	first, last = medianOf(values[:third]), medianOf(values[len(values)-third:])
	return first, last, last-first <= max(first*soakFlat, m.floor)
}

func medianOf(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// verdict is an error if something grew or failed.
func (k *soak) verdict() (failed error) {
	for _, m := range k.measures {
		if first, last, flat := m.growth(k.warm()); !flat {
			failed = errors.Join(failed, fmt.Errorf("%s grew from %.1f to %.1f %s", m.name, first, last, m.unit))
		}
	}
	if len(k.measures) == 0 {
		failed = errors.New("nothing was measured")
	}
	if n := k.failures.Load(); n > 0 {
		failed = errors.Join(failed, fmt.Errorf("%d of %d sessions failed, the first %s", n, k.requests.Load(), *k.first.Load()))
	}
	return failed
}

func (b *bench) tableOfSoak(t *strings.Builder) {
	k := b.soak
	fmt.Fprintf(t, "\n## Soak of %v\n\n%d sessions of %d users, %d failed; %d logins by kinit; ", k.lasts, k.requests.Load(), soakUsers, k.failures.Load(), k.kinits)
	var did []string
	for name, value := range k.done {
		did = append(did, fmt.Sprintf("%s %.0f", name, value))
	}
	slices.Sort(did)
	t.WriteString(strings.Join(did, ", ") + ".\n\n| | after the warm-up | at the end | flat |\n|---|---:|---:|---|\n")
	for _, m := range k.measures {
		first, last, flat := m.growth(k.warm())
		word := "yes"
		if !flat {
			word = "no"
		}
		fmt.Fprintf(t, "| %s | %.1f %s | %.1f %s | %s |\n", m.name, first, m.unit, last, m.unit, word)
	}
}

// plot draws every measure over time.
func (k *soak) plot() string {
	const width, height, gap, left, top, columns = 300, 110, 60, 60, 40, 3
	rows := (len(k.measures) + columns - 1) / columns
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", left+columns*(width+gap), top+rows*(height+gap))
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	for i, m := range k.measures {
		x, y := left+i%columns*(width+gap), top+i/columns*(height+gap)
		most := max(slices.Max(m.values)*1.1, 1)
		fmt.Fprintf(&out, `<text x="%d" y="%d" font-weight="bold">%s %s</text>`+"\n", x, y-8, m.name, m.unit)
		fmt.Fprintf(&out, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#dddddd"/>`+"\n", x, y, width, height)
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%.0f</text><text x="%d" y="%d" text-anchor="end">0</text><text x="%d" y="%d" text-anchor="end">%v</text>`+"\n",
			x-4, y+8, most, x-4, y+height, x+width, y+height+14, k.lasts)
		var points []string
		for n, v := range m.values {
			points = append(points, fmt.Sprintf("%.1f,%.1f", float64(x)+k.times[n]/k.lasts.Seconds()*width, float64(y)+height*(1-v/most)))
		}
		fmt.Fprintf(&out, `<polyline fill="none" stroke="#0072b2" points="%s"/>`+"\n", strings.Join(points, " "))
	}
	out.WriteString("</svg>\n")
	return out.String()
}
