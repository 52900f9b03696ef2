package engine

import (
	"errors"
	"os"
	"sync"
	"testing"
)

// TestAFileThatGrowsIsNotTakenForTruncated: others look at its size meanwhile.
func TestAFileThatGrowsIsNotTakenForTruncated(t *testing.T) {
	e := newEngine(t, testOptions())
	info, err := os.Stat(e.path)
	if err != nil {
		t.Fatal(err)
	}
	var looking sync.WaitGroup
	stop := make(chan struct{})
	for range 3 {
		looking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := errors.Join(e.intact(), e.untouched()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range int64(20000) {
		if err := os.Truncate(e.path, info.Size()+i); err != nil {
			t.Fatal(err)
		}
		if err := e.intact(); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	looking.Wait()
}
