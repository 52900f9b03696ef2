package responder

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/pflag"

	"gosssd/confdb"
	"gosssd/responder/log"
)

// ParseFlags reads the command line of a program that takes options only, with
// --version and --help besides those of set. If the program is done with that,
// ParseFlags has printed what there is to say, and code is what to end with.
func ParseFlags(program string, set *pflag.FlagSet, args []string, stdout, stderr io.Writer) (code int, done bool) {
	set.SetOutput(io.Discard)
	set.SortFlags = false
	version := set.Bool("version", false, "print the version and exit")
	help := set.BoolP("help", "?", false, "print this help and exit")
	err := set.Parse(args)
	if err == nil && set.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	switch {
	case err != nil && !errors.Is(err, pflag.ErrHelp): // which is -h
		return UsageError(program, set, err, stderr), true
	case *help, err != nil:
		fmt.Fprintf(stdout, "Usage: %s [OPTION...]\n%s", program, Usages(set))
		return exitOK, true
	case *version:
		fmt.Fprintln(stdout, VersionOf(program))
		return exitOK, true
	}
	return exitOK, false
}

// LogFlags are the options about the log that the monitor and every responder
// take on the command line, and that the monitor hands on to responders.
type LogFlags struct {
	level        number
	timestamps   number
	microseconds number
	logger       destination
}

// Add declares the options.
func (f *LogFlags) Add(set *pflag.FlagSet) {
	f.logger = "files"
	set.VarP(&f.level, "debug-level", "d", "log what `LEVEL` says, as debug_level in sssd.conf")
	set.Var(&f.timestamps, "debug-timestamps", "begin lines with the time if `N` is 1, not if it is 0")
	set.Var(&f.microseconds, "debug-microseconds", "give the time in microseconds if `N` is 1, not if it is 0")
	set.Var(&f.logger, "logger", "log to `DEST`: stderr, files or journald")
}

// Options resolves the command line against the options of a section; where
// both say something about a level, the command line wins.
func (f *LogFlags) Options(section confdb.View) log.Options {
	o := log.Options{
		Destination:  string(f.logger),
		Level:        LevelOf(section),
		Timestamps:   section.Bool("debug_timestamps"),
		Microseconds: section.Bool("debug_microseconds"),
		Backtrace:    section.Bool("debug_backtrace_enabled"),
	}
	if f.level.set {
		o.Level = log.Mask(f.level.value)
	}
	if f.timestamps.set {
		o.Timestamps = f.timestamps.value != 0
	}
	if f.microseconds.set {
		o.Microseconds = f.microseconds.value != 0
	}
	return o
}

// LevelOf is the mask of debug_level, or of debug where that is not set.
func LevelOf(section confdb.View) log.Level {
	if !section.IsSet("debug_level") && section.IsSet("debug") {
		return log.Mask(section.Int("debug"))
	}
	return log.Mask(section.Int("debug_level"))
}

// Args is the command line that makes a responder log as this process was
// told to.
func (f *LogFlags) Args() []string {
	args := []string{"--logger=" + string(f.logger)}
	for _, option := range []struct {
		name   string
		number number
	}{{"debug-level", f.level}, {"debug-timestamps", f.timestamps}, {"debug-microseconds", f.microseconds}} {
		if option.number.set {
			args = append(args, fmt.Sprintf("--%s=%d", option.name, option.number.value))
		}
	}
	return args
}

// SetDestination changes where to log.
func (f *LogFlags) SetDestination(to string) error { return f.logger.Set(to) }

// ToStderr reports whether the log goes to stderr.
func (f *LogFlags) ToStderr() bool { return f.logger == "stderr" }

// number is an integer option that knows whether it was given.
type number struct {
	value int64
	set   bool
}

func (n *number) String() string { return strconv.FormatInt(n.value, 10) }
func (n *number) Type() string   { return "INT" }

// Set takes an integer as sssd.conf has it.
func (n *number) Set(text string) error {
	value, err := confdb.ParseInt(text)
	if err != nil {
		return err
	}
	n.value, n.set = value, true
	return nil
}

// destination is one of the places logs can go.
type destination string

func (d *destination) String() string { return string(*d) }
func (d *destination) Type() string   { return "DEST" }

// Set takes one of the known places.
func (d *destination) Set(text string) error {
	switch text {
	case "stderr", "files", "journald":
		*d = destination(text)
		return nil
	}
	return fmt.Errorf("%q is not known, expected stderr, files or journald", text)
}
