// Package output is how sssctl prints: tables for people, fitted to the
// terminal, and JSON for programs, once or again and again.
package output

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The words of --json. Auto is that of --json and -j without a word.
const (
	off    = "off"
	short  = "short"
	pretty = "pretty"
	auto   = "auto"
)

// watchEvery is the interval of --watch without one, and watchLeast the
// shortest there may be.
const (
	watchEvery = 2 * time.Second
	watchLeast = 100 * time.Millisecond
)

// Options are the options that every listing command has.
type Options struct {
	json     mode
	noLegend bool
	full     bool
	watch    time.Duration // 0: print once
}

// Add declares the options for a command.
func Add(c *cobra.Command) *Options {
	o := &Options{json: off}
	flags := c.Flags()
	flags.VarP(&o.json, "json", "j", "print JSON; `WORD` is pretty, short or off, without one pretty on a terminal, short elsewhere")
	flags.Lookup("json").NoOptDefVal = auto
	flags.Lookup("json").DefValue = "" // the help tells what is without a word
	flags.BoolVar(&o.noLegend, "no-legend", false, "print no heading")
	flags.BoolVar(&o.full, "full", false, "cut nothing to the terminal's width, and print dates beside relative times")
	flags.DurationVar(&o.watch, "watch", 0, "print again after each `INTERVAL`, as 5s or 1m; without one after 2s")
	flags.Lookup("watch").NoOptDefVal = watchEvery.String()
	// That no name is registered twice is all that can go wrong.
	_ = c.RegisterFlagCompletionFunc("json", cobra.FixedCompletions([]string{pretty, short, off}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("watch", cobra.FixedCompletions([]string{"2s", "10s", "1m"}, cobra.ShellCompDirectiveNoFileComp))
	return o
}

// mode is a word of --json.
type mode string

func (m *mode) String() string { return string(*m) }

// Type is the name of the value in messages.
func (m *mode) Type() string { return "mode" }

// Set takes one of the words.
func (m *mode) Set(word string) error {
	if !slices.Contains([]string{off, short, pretty, auto}, word) {
		return fmt.Errorf("%q is none of %s, %s and %s", word, pretty, short, off)
	}
	*m = mode(word)
	return nil
}

// Listing is what a command prints, for both kinds of readers.
type Listing struct {
	Table Table
	// Above are lines for people before the table, as its heading.
	Above string
	// Parts are printed for people, one below the other, in place of the table
	// where there are any.
	Parts []Part
	// Text is printed for people in place of the table where it is not "".
	Text string
	// JSON is marshalled for programs. The names of its fields are kept from
	// one version to the next.
	JSON any
}

// Part is a text and a table below it.
type Part struct {
	Text  string
	Table Table
}

// Place is where a command prints to.
type Place struct {
	io.Writer
	Terminal bool
	Width    int  // columns; 0: without limit
	Colours  bool // the terminal may be sent colours
}

// PlaceOf describes the standard output, to which w writes.
func PlaceOf(w io.Writer) Place {
	p := Place{Writer: w, Terminal: term.IsTerminal(int(os.Stdout.Fd()))}
	if p.Terminal {
		p.Width, _, _ = term.GetSize(int(os.Stdout.Fd()))
		p.Colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return p
}

// Watches reports whether --watch was given.
func (o *Options) Watches() bool { return o.watch != 0 }

// Chosen reports whether any of the options was given.
func (o *Options) Chosen() bool { return o.json != off || o.noLegend || o.full || o.watch != 0 }

// Run has a listing made and prints it, with --watch until ctx ends, which is no
// error then. What list returns together with an error is printed, too.
func (o *Options) Run(ctx context.Context, to Place, list func() (Listing, error)) error {
	if o.watch < 0 || o.watch > 0 && o.watch < watchLeast {
		return fmt.Errorf("--watch: the interval is %v; the shortest is %v", o.watch, watchLeast)
	}
	for {
		listing, err := list()
		if err := errors.Join(err, o.print(to, listing)); err != nil || o.watch == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(o.watch):
		}
	}
}

// print prints a listing once. Under --watch a terminal is cleared first.
func (o *Options) print(to Place, l Listing) error {
	if l.JSON == nil {
		return nil // it has failed before there was anything
	}
	if o.json != off {
		encoder := json.NewEncoder(to)
		encoder.SetEscapeHTML(false)
		if o.json == pretty || o.json == auto && to.Terminal {
			encoder.SetIndent("", "  ")
		}
		return encoder.Encode(l.JSON)
	}
	before := ""
	switch {
	case o.watch > 0 && to.Terminal:
		before = "\x1b[H\x1b[2J"
	case o.watch > 0:
		before = time.Now().Format(time.DateTime) + "\n"
	}
	text := l.Text
	for _, part := range l.Parts {
		text += part.Text + part.Table.format(to, o)
	}
	if text == "" {
		text = l.Table.format(to, o)
		if !o.noLegend {
			text = l.Above + text
		}
	}
	_, err := io.WriteString(to, before+text)
	return err
}
