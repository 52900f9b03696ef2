package rest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"

	"gosssd/secrets/client"
)

// BenchmarkCommit measures what sssd_kcm waits for: one record of 1200 bytes,
// sent over a real socket and on disk when the answer is there.
func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			c := benchClient(b)
			value := make([]byte, 1200)
			const each = 32
			commits := 0
			for b.Loop() {
				var group sync.WaitGroup
				for w := range uint32(writers) {
					group.Go(func() {
						for i := range each {
							if err := c.Commit(context.Background(), w, map[string][]byte{fmt.Sprint("ccache/x/", i): value}); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				group.Wait()
				commits += writers * each
			}
			b.ReportMetric(float64(commits)/b.Elapsed().Seconds(), "stores/s")
		})
	}
}

func benchClient(b *testing.B) *client.Client {
	s := serve(b, nil)
	s.setPeer(uint32(os.Geteuid()))
	c := client.New(s.path)
	b.Cleanup(func() { c.Close() })
	return c
}

// BenchmarkLoad measures the bulk read of one user with 2000 tickets.
func BenchmarkLoad(b *testing.B) {
	c := benchClient(b)
	changes := map[string][]byte{}
	for i := range 2000 {
		changes[fmt.Sprintf("ccache/x/%04d", i)] = make([]byte, 1200)
	}
	if err := c.Commit(context.Background(), 1000, changes); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		all, err := recordsOf(c, 1000)
		if err != nil || len(all) != len(changes) {
			b.Fatal(len(all), err)
		}
	}
}

// BenchmarkOwners measures the smallest request.
func BenchmarkOwners(b *testing.B) {
	c := benchClient(b)
	for b.Loop() {
		if _, err := c.Owners(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
