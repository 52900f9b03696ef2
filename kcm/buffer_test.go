package kcm

import (
	"fmt"
	"strings"
	"sync"
)

// buffer collects lines of text from many goroutines.
type buffer struct {
	mu      sync.Mutex
	text    strings.Builder
	written chan struct{} // if set, has a value while there was a line since the last one
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) line(member string, values ...any) {
	fmt.Fprintln(b, member, fmt.Sprintln(values...))
	select {
	case b.written <- struct{}{}:
	default:
	}
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// take returns what was collected since the last call, in words.
func (b *buffer) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := strings.Join(strings.Fields(b.text.String()), " ")
	b.text.Reset()
	return taken
}
