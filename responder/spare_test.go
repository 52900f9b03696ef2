package responder

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// released is how much the runtime has given back to the system.
func released() int64 { return read(heapReleased) }

// waste leaves garbage of so many bytes in memory.
func waste(bytes int) {
	var all [][]byte
	for range bytes >> 16 {
		all = append(all, make([]byte, 1<<16))
	}
	runtime.KeepAlive(all)
}

func TestMemoryThatIsSpareIsGivenBack(t *testing.T) {
	spare := NewSpare()
	for what, prepare := range map[string]func(){
		"what the process got since": func() { waste(32 << 20) },
		"what became free since": func() {
			kept := make([]byte, 32<<20)
			spare.GiveBack(true)
			runtime.KeepAlive(kept)
			runtime.GC()
		},
	} {
		prepare()
		before := released()
		spare.GiveBack(false)
		if got := released() - before; got < 16<<20 {
			t.Errorf("of %s %d KiB are given back", what, got>>10)
		}
	}
}

func TestMemoryThatIsSpareIsGivenBackEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spare := NewSpare()
		go spare.Run(t.Context())
		waste(32 << 20)
		before := released()
		time.Sleep(spareInterval + time.Second)
		synctest.Wait()
		if got := released() - before; got < 16<<20 {
			t.Errorf("%d KiB are given back", got>>10)
		}
	})
}
