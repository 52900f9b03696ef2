package engine

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// stretch is when something went on.
type stretch struct{ begin, end time.Time }

func (s stretch) meets(t stretch) bool { return s.begin.Before(t.end) && t.begin.Before(s.end) }

// BenchmarkUpdateWhileStored tells how long changes wait that meet the bringing
// of the journal into a database of 100 000 records, which are changed in any
// order, or of which ten are changed again and again. It takes its directory
// from ENGINE_BENCH_DIR, since /tmp may be no disk.
func BenchmarkUpdateWhileStored(b *testing.B) {
	b.Run("any", func(b *testing.B) { benchmarkStored(b, benchGroups) })
	b.Run("same", func(b *testing.B) { benchmarkStored(b, 1) })
}

const benchGroups, benchEach = 10_000, 10

// benchmarkStored changes records of some of the groups.
func benchmarkStored(b *testing.B, changed int) {
	dir := os.Getenv("ENGINE_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	path := filepath.Join(dir, "bench.db")
	defer func() { _ = os.Remove(path); _ = os.Remove(path + journalSuffix) }()
	value := make([]byte, 1200)
	record := func(group, n int) []byte {
		name := binary.BigEndian.AppendUint32(nil, uint32(group))
		return binary.BigEndian.AppendUint32(append(name, "abcdefghijkl"...), uint32(n))
	}
	err := Create(path, Options{}, func(d *Draft, _ []byte) error {
		for g := range benchGroups {
			for n := range benchEach {
				d.Put("hive", record(g, n), value)
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrExist) {
		b.Fatal(err)
	}
	var mu sync.Mutex
	var stored, synced []stretch
	note := func(to *[]stretch) func(time.Duration) {
		return func(took time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			*to = append(*to, stretch{now.Add(-took), now})
		}
	}
	e, err := Open(path, Options{Synced: note(&synced), Stored: note(&stored)})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	var all []stretch
	for b.Loop() {
		g := rand.IntN(changed)
		begin := time.Now()
		err := e.Update(false, func(d *Draft) error {
			d.Put("hive", record(g, rand.IntN(benchEach)), value)
			d.Put("hive", record(g, benchEach), value[:100])
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, stretch{begin, time.Now()})
	}
	mu.Lock()
	defer mu.Unlock()
	met := slices.DeleteFunc(slices.Clone(all), func(s stretch) bool {
		return !slices.ContainsFunc(stored, s.meets)
	})
	for what, stretches := range map[string][]stretch{"all": all, "met": met, "sync": synced, "stored": stored} {
		var took []time.Duration
		for _, s := range stretches {
			took = append(took, s.end.Sub(s.begin))
		}
		slices.Sort(took)
		if len(took) == 0 {
			continue
		}
		b.ReportMetric(float64(len(took)), what+"-n")
		b.ReportMetric(took[len(took)/2].Seconds()*1000, what+"-p50-ms")
		b.ReportMetric(took[len(took)*99/100].Seconds()*1000, what+"-p99-ms")
		b.ReportMetric(took[len(took)-1].Seconds()*1000, what+"-max-ms")
	}
}
