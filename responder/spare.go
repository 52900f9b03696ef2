package responder

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// notable is how much memory a process must have got, or have no more use for,
// for it to be given back to the system: looking for it takes the processor some
// milliseconds.
const notable = 8 << 20

// spareInterval is how often is looked for memory to give back.
const spareInterval = time.Minute

// Spare gives memory back to the system that the process had for a while: for
// large requests, or for many connections. The runtime would keep most of it
// for later. Its methods are called by one goroutine.
type Spare struct{ before int64 } // what the process had from the system when it last gave back

// NewSpare returns a Spare to which the present size of the process is the usual
// one.
func NewSpare() *Spare { return &Spare{before: fromSystem()} }

// Run gives back once a minute what there is to give back, until ctx ends.
func (s *Spare) Run(ctx context.Context) {
	look := time.NewTicker(spareInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			s.GiveBack(false)
		}
	}
}

// GiveBack gives free memory back where there is some to speak of: the process
// has grown since the last time, the runtime has found memory that is free, or
// freed says that there is some it has not found yet.
func (s *Spare) GiveBack(freed bool) {
	if freed || fromSystem()-s.before > notable || read(heapFree) > notable {
		debug.FreeOSMemory()
		s.before = fromSystem()
	}
}

// What the runtime tells of the heap, in bytes.
const (
	heapFree     = "/memory/classes/heap/free:bytes" // since the last collection, and not given back
	heapReleased = "/memory/classes/heap/released:bytes"
	allClasses   = "/memory/classes/total:bytes"
)

// fromSystem is how many bytes the runtime has from the system.
func fromSystem() int64 { return read(allClasses) - read(heapReleased) }

func read(name string) int64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
