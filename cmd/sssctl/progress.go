package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// progress says on a terminal how far a long work is. Elsewhere it says nothing.
type progress struct {
	to    io.Writer // nil: nobody
	of    string
	total int
	next  time.Time // when it may be said again
	said  bool
}

// Of a work that is done within patience nothing is said, and of any other every
// sayEvery.
const (
	patience = 500 * time.Millisecond
	sayEvery = 100 * time.Millisecond
)

// newProgress begins to tell of a work on so many things, of which of is the
// word. A total of 0 is not known.
func newProgress(c *cobra.Command, of string, total int) *progress {
	p := &progress{of: of, total: total, next: time.Now().Add(patience)}
	if term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb" {
		p.to = c.ErrOrStderr()
	}
	return p
}

// at tells that so many are done.
func (p *progress) at(done int) {
	now := time.Now()
	if p.to == nil || now.Before(p.next) {
		return
	}
	p.next, p.said = now.Add(sayEvery), true
	if p.total == 0 {
		fmt.Fprintf(p.to, "\r%s: %d\x1b[K", p.of, done)
		return
	}
	fmt.Fprintf(p.to, "\r%s: %d of %d (%d%%)\x1b[K", p.of, done, p.total, done*100/p.total)
}

// end takes what was said away.
func (p *progress) end() {
	if p.said {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
}
