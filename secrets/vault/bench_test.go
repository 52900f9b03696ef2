package vault

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkDurableWrites measures durable writes of one record of 1200 bytes,
// and gives them as a ratio to a bare loop of append and fdatasync in the same
// run: x is how many times as many writes the vault makes.
func BenchmarkDurableWrites(b *testing.B) {
	for _, writers := range []int{1, 32} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			v := openTest(b, b.TempDir(), testOptions())
			var vault, bare time.Duration
			// In slices, so that both see the same load of the machine.
			const slice = 64
			file, err := os.Create(filepath.Join(b.TempDir(), "bare"))
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			writes := 0
			for b.Loop() {
				vault += writeVault(b, v.Hive("kcm"), writers, slice)
				bare += writeBare(b, file, slice)
				writes += slice
			}
			perVault, perBare := vault/time.Duration(writes*writers), bare/time.Duration(writes)
			b.ReportMetric(float64(time.Second/perVault), "vault/s")
			b.ReportMetric(float64(time.Second/perBare), "bare/s")
			b.ReportMetric(float64(perBare)/float64(perVault), "x")
		})
	}
}

func writeVault(b *testing.B, h *Hive, writers, each int) time.Duration {
	b.Helper()
	value := make([]byte, 1200)
	start := time.Now()
	var group sync.WaitGroup
	for w := range uint32(writers) {
		group.Go(func() {
			for i := range each {
				if err := h.Commit(ctx, w, map[string][]byte{fmt.Sprint("ccache/x/", i): value}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(start)
}

func writeBare(b *testing.B, file *os.File, each int) time.Duration {
	b.Helper()
	value := make([]byte, 1200)
	start := time.Now()
	for range each {
		if _, err := file.Write(value); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(file.Fd())); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

// BenchmarkLongestWait measures how long single writes take while others write:
// the median, the slowest hundredth and the slowest of all, in milliseconds.
func BenchmarkLongestWait(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			h := openTest(b, b.TempDir(), testOptions()).Hive("kcm")
			value := make([]byte, 1200)
			var mu sync.Mutex
			var all []time.Duration
			var group sync.WaitGroup
			const each = 3000
			for b.Loop() {
				for w := range uint32(writers) {
					group.Go(func() {
						var own []time.Duration
						for i := range each {
							start := time.Now()
							if err := h.Commit(ctx, w, map[string][]byte{fmt.Sprint("ccache/x/", i): value}); err != nil {
								b.Error(err)
								return
							}
							own = append(own, time.Since(start))
						}
						mu.Lock()
						defer mu.Unlock()
						all = append(all, own...)
					})
				}
				group.Wait()
			}
			slices.Sort(all)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(all[len(all)/2]), "ms-median")
			b.ReportMetric(ms(all[len(all)*99/100]), "ms-p99")
			b.ReportMetric(ms(all[len(all)*999/1000]), "ms-p999")
			b.ReportMetric(ms(all[len(all)-1]), "ms-longest")
		})
	}
}

// BenchmarkLargeChange measures a change of 114444 small records, as a REPLACE
// of a cache of 10 MiB is, and how long single writes of others take meanwhile.
func BenchmarkLargeChange(b *testing.B) {
	h := openTest(b, b.TempDir(), testOptions()).Hive("kcm")
	large := map[string][]byte{}
	for i := range 114444 {
		large[fmt.Sprint("ccache/x/", i)] = make([]byte, 60)
	}
	var longest, took time.Duration
	for b.Loop() {
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- h.Commit(ctx, 1, large) }()
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					b.Fatal(err)
				}
				running = false
			default:
				from := time.Now()
				if err := h.Commit(ctx, 2, map[string][]byte{"a": make([]byte, 1200)}); err != nil {
					b.Fatal(err)
				}
				longest = max(longest, time.Since(from))
			}
		}
		took = max(took, time.Since(start))
	}
	b.ReportMetric(float64(took.Milliseconds()), "ms-large")
	b.ReportMetric(float64(longest.Milliseconds()), "ms-longest-other")
}
