package vault

import (
	"fmt"
	"os"
	"path/filepath"
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
