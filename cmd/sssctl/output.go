package main

import (
	"context"
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"gosssd/cmd/sssctl/output"
)

// stdout is what commands print to. They need not look at each write: the first
// that fails is remembered, and sssctl fails with it at its end.
type stdout struct {
	to  io.Writer
	err error
}

func (o *stdout) Write(b []byte) (int, error) {
	n, err := o.to.Write(b)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("writing to standard output: %w", err)
	}
	return n, err
}

// show prints a listing as the options say. SIGINT and SIGTERM end --watch, which
// is no failure then; without it they end the program as ever.
func (t *tool) show(c *cobra.Command, printing *output.Options, list func() (output.Listing, error)) error {
	ctx := context.Background()
	if printing.Watches() {
		watching, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		ctx = watching
	}
	return printing.Run(ctx, output.PlaceOf(c.OutOrStdout()), list)
}
