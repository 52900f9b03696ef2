package responder

import (
	"errors"
	"fmt"
	"io"
	"os"
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
		_, _ = fmt.Fprintf(stdout, "Usage: %s [OPTION...]\n%s", program, Usages(set))
		return exitOK, true
	case *version:
		_, _ = fmt.Fprintln(stdout, VersionOf(program))
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
	chosen       bool // by an option
}

// Add declares the options.
func (f *LogFlags) Add(set *pflag.FlagSet) {
	f.logger = "files"
	set.VarP(&f.level, "debug-level", "d", "log what `LEVEL` says, as debug_level in sssd.conf")
	set.Var(&f.timestamps, "debug-timestamps", "begin lines with the time if `N` is 1, not if it is 0")
	set.Var(&f.microseconds, "debug-microseconds", "give the time in microseconds if `N` is 1, not if it is 0")
	set.Func("logger", "log to `DEST`: files (the default), stderr or journald", f.choose)
	// What --logger replaced in SSSD 2; units and scripts have kept it.
	for _, old := range []struct{ name, short, to string }{{"debug-to-files", "f", "files"}, {"debug-to-stderr", "", "stderr"}} {
		set.BoolFuncP(old.name, old.short, "the same as --logger="+old.to, func(string) error { return f.choose(old.to) })
		set.Lookup(old.name).Hidden = true
	}
}

func (f *LogFlags) choose(to string) error {
	f.chosen = true
	return f.logger.Set(to)
}

// AddIgnored declares options without a value that SSSD had and that mean
// nothing here, so that command lines with them go on working.
func AddIgnored(set *pflag.FlagSet, names ...string) {
	for _, name := range names {
		set.Bool(name, false, "ignored")
		set.Lookup(name).Hidden = true
	}
}

// identity is --uid or --gid: SSSD's units have started responders as root
// with --uid 0 --gid 0. Units name another user in User=.
type identity struct {
	kind string
	own  int
}

func (i identity) String() string { return "" }
func (i identity) Type() string   { return "ID" }

// Set takes root, which is what the unit makes of us, and who we are.
func (i identity) Set(text string) error {
	id, err := strconv.Atoi(text)
	if err != nil || id != 0 && id != i.own {
		return fmt.Errorf("a responder does not change its %s: %q is neither 0 nor %d; start it as that user instead, as by User= in its unit", i.kind, text, i.own)
	}
	return nil
}

func addIdentity(set *pflag.FlagSet) {
	set.Var(identity{"user", os.Geteuid()}, "uid", "ignored")
	set.Var(identity{"group", os.Getegid()}, "gid", "ignored")
	for _, name := range []string{"uid", "gid"} {
		set.Lookup(name).Hidden = true
	}
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

// DefaultTo is where to log if no option has said so.
func (f *LogFlags) DefaultTo(to string) error {
	if f.chosen {
		return nil
	}
	return f.logger.Set(to)
}

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

// Set takes one of the known places.
func (d *destination) Set(text string) error {
	switch text {
	case "stderr", "files", "journald":
		*d = destination(text)
		return nil
	}
	return fmt.Errorf("%q is not known, expected stderr, files or journald", text)
}
