package log

import (
	"bytes"
	"sync"
)

// ringSize bounds the memory of the backtrace.
const ringSize = 100 << 10

// ringLevel is the most talkative bit the backtrace keeps. Operation traces
// lie above it, so that a request costs nothing for a log nobody reads.
const ringLevel = FuncData

// ring keeps recent lines that debug_level switches off, to be written before
// the next failure. Lines never hold secrets, so neither does it.
type ring struct {
	mu    sync.Mutex
	lines [][]byte
	size  int
}

func (r *ring) keep(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, line)
	r.size += len(line)
	for r.size > ringSize {
		r.size -= len(r.lines[0])
		r.lines[0] = nil
		r.lines = r.lines[1:]
	}
}

// flush writes e and, before a failure, the lines kept since the last one.
func (r *ring) flush(o Options, e entry, out output) {
	line := o.line(e)
	if e.bit > Serious {
		out.writeRaw(line)
		return
	}
	r.mu.Lock()
	kept := r.lines
	r.lines, r.size = nil, 0
	r.mu.Unlock()
	if len(kept) == 0 {
		out.writeRaw(line)
		return
	}
	var b bytes.Buffer
	b.WriteString("---- what led to the line above:\n")
	for _, earlier := range append(kept, line) {
		b.WriteString("   *  ")
		b.Write(earlier)
	}
	b.WriteString("---- end of what led to it\n")
	out.writeRaw(append(bytes.Clone(line), b.Bytes()...))
}
