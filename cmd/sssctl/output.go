package main

import (
	"fmt"
	"io"
)

// output is what commands print to. They need not look at each write: the first
// that fails is remembered, and sssctl fails with it at its end.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("writing to standard output: %w", err)
	}
	return n, err
}
