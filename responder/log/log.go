package log

import (
	"io"
	stdlog "log"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
)

// Logger is an hclog.Logger that writes SSSD's lines. Loggers derived from one
// another share its level and destination; all are safe for concurrent use. A
// call that the level switches off costs nothing but the making of its
// arguments; guard it with On where that matters.
type Logger struct {
	sink   *sink
	client uint64 // CID# of the line; 0 means none
	uid    string // of the client
	fields []any  // key/value pairs of With
	name   string
}

var _ hclog.Logger = (*Logger)(nil)

// sink is what all loggers of a process share.
type sink struct {
	options Options
	mask    atomic.Uint32
	out     output
	ring    *ring // nil without debug_backtrace_enabled
	repeats *repeats
}

func newSink(options Options, out output) *sink {
	s := &sink{options: options, out: out}
	s.mask.Store(uint32(options.Level))
	s.repeats = newRepeats(s.deliver)
	return s
}

// Options says how a process logs.
type Options struct {
	Program      string // "sssd", "kcm": the first bracket of a line
	Destination  string // "stderr", "files" or "journald"
	File         string // for "files"
	Level        Level
	Timestamps   bool
	Microseconds bool
	Backtrace    bool // for "files": keep recent quieter lines and write them before a failure
}

// Open returns a logger. If the log file cannot be opened it logs to stderr
// and says so in its first line.
func Open(options Options) *Logger {
	switch options.Destination {
	case "journald":
		return &Logger{sink: newSink(options, journald{program: options.Program})}
	case "files":
		out, err := openFile(options.File)
		s := newSink(options, out)
		if options.Backtrace {
			s.ring = &ring{}
		}
		l := &Logger{sink: s}
		if err != nil {
			l.Error("cannot open the log file, logging to stderr", "error", err)
		}
		return l
	}
	return &Logger{sink: newSink(options, &stream{w: os.Stderr})}
}

// Discard returns a logger that writes nothing, for tests.
func Discard() *Logger { return To(io.Discard, 0) }

// To returns a logger that writes lines without time to w, for tests.
func To(w io.Writer, level Level) *Logger {
	return &Logger{sink: newSink(Options{Program: "test", Level: level}, &stream{w: w})}
}

// Flush writes how many repeated lines were left out and not told of yet. A
// process calls it before it ends.
func (l *Logger) Flush() { l.sink.repeats.flush() }

// Reopen opens the log file again by its path, after it has been rotated.
func (l *Logger) Reopen() error { return l.sink.out.reopen() }

// Mask returns the bits that are written.
func (l *Logger) Mask() Level { return Level(l.sink.mask.Load()) }

// SetMask changes the bits that are written, for all loggers derived from the
// same one.
func (l *Logger) SetMask(mask Level) { l.sink.mask.Store(uint32(mask)) }

// Client returns a logger whose lines carry the client's number, CID#id. Lines
// that repeat each other are counted for each uid by itself.
func (l *Logger) Client(id uint64, uid uint32) *Logger {
	clone := *l
	clone.client, clone.uid = id, strconv.FormatUint(uint64(uid), 10)
	return &clone
}

// On reports whether lines of level are of use to anybody.
func (l *Logger) On(level hclog.Level) bool { return l.sink.wants(l.Mask(), levelOf(level)) }

// Wants is On for a single bit.
func (l *Logger) Wants(bit Level) bool { return l.sink.wants(l.Mask(), bit) }

func (s *sink) wants(mask, bit Level) bool { return mask&bit != 0 || s.ring != nil && bit <= ringLevel }

// counts reports whether lines of a bit that repeat each other are counted.
// Whoever switches operations on wants to see each of them.
func (s *sink) counts(mask, bit Level) bool {
	return Fatal < bit && bit <= Config && mask&TraceFunc == 0
}

// Fatal writes what ends the process, at the bit that no level switches off.
func (l *Logger) Fatal(msg string, args ...any) { l.write(Fatal, msg, args) }

// Minor writes a failure that was coped with.
func (l *Logger) Minor(msg string, args ...any) { l.write(Minor, msg, args) }

// Log writes msg followed by the key/value pairs of args at a level of hclog, as
// the methods that follow do at theirs.
func (l *Logger) Log(level hclog.Level, msg string, args ...any) { l.write(levelOf(level), msg, args) }

// At writes at a single bit, for those that hclog has no level for.
func (l *Logger) At(bit Level, msg string, args ...any) { l.write(bit, msg, args) }

// Trace writes at 0x2000.
func (l *Logger) Trace(msg string, args ...any) { l.write(TraceInternal, msg, args) }

// Debug writes at 0x0400.
func (l *Logger) Debug(msg string, args ...any) { l.write(TraceFunc, msg, args) }

// Info writes at 0x0100.
func (l *Logger) Info(msg string, args ...any) { l.write(Config, msg, args) }

// Warn writes at 0x0040.
func (l *Logger) Warn(msg string, args ...any) { l.write(Serious, msg, args) }

// Error writes at 0x0020.
func (l *Logger) Error(msg string, args ...any) { l.write(Critical, msg, args) }

func (l *Logger) write(bit Level, msg string, args []any) {
	s, mask := l.sink, l.Mask()
	if !s.wants(mask, bit) {
		return
	}
	place := caller()
	line := func() entry {
		e := entry{bit: bit, client: l.client, text: l.text(msg, args), place: place}
		if _, structured := s.out.(journald); structured {
			e.fields = fieldsOf(l.client, msg, l.fields, args)
		}
		return e
	}
	if s.counts(mask, bit) {
		text := func() string { return l.text(msg, args) }
		if !s.repeats.admit(s.repeats.causeOf(place, l, args, text), line) {
			return
		}
	}
	s.deliver(line())
}

// deliver brings an entry to where the level sends it, which may have changed
// since it was asked.
func (s *sink) deliver(e entry) {
	written := Level(s.mask.Load())&e.bit != 0
	switch {
	case s.ring == nil && written:
		s.out.write(s.options, e)
	case s.ring != nil && written:
		s.ring.flush(s.options, e, s.out)
	case s.ring != nil && e.bit <= ringLevel:
		s.ring.keep(s.options.line(e))
	}
}

// caller is the place in the program that writes.
func caller() uintptr {
	var pcs [1]uintptr
	runtime.Callers(4, pcs[:])
	return pcs[0]
}

// The rest of hclog.Logger.

// IsTrace reports whether Trace writes.
func (l *Logger) IsTrace() bool { return l.Mask()&TraceInternal != 0 }

// IsDebug reports whether Debug writes.
func (l *Logger) IsDebug() bool { return l.Mask()&TraceFunc != 0 }

// IsInfo reports whether Info writes.
func (l *Logger) IsInfo() bool { return l.Mask()&Config != 0 }

// IsWarn reports whether Warn writes.
func (l *Logger) IsWarn() bool { return l.Mask()&Serious != 0 }

// IsError reports whether Error writes.
func (l *Logger) IsError() bool { return l.Mask()&Critical != 0 }

// ImpliedArgs returns the pairs of With.
func (l *Logger) ImpliedArgs() []any { return l.fields }

// With returns a logger that adds pairs to every line.
func (l *Logger) With(args ...any) hclog.Logger { return l.Naming(args...) }

// Naming is With for those who need a Logger.
func (l *Logger) Naming(args ...any) *Logger {
	clone := *l
	clone.fields = slices.Concat(l.fields, args)
	return &clone
}

// Name returns the name that Named gave.
func (l *Logger) Name() string { return l.name }

// Named returns a logger whose text begins with the names.
func (l *Logger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return l.ResetNamed(name)
}

// ResetNamed returns a logger whose text begins with name.
func (l *Logger) ResetNamed(name string) hclog.Logger {
	clone := *l
	clone.name = name
	return &clone
}

// SetLevel lets through everything up to an hclog level.
func (l *Logger) SetLevel(level hclog.Level) {
	l.SetMask(levelOf(level)<<1 - Fatal)
}

// GetLevel returns the most talkative hclog level that is written.
func (l *Logger) GetLevel() hclog.Level { return l.Mask().hclogLevel() }

// StandardLogger returns a log.Logger whose lines are written at Info.
func (l *Logger) StandardLogger(options *hclog.StandardLoggerOptions) *stdlog.Logger {
	return stdlog.New(l.StandardWriter(options), "", 0)
}

// StandardWriter returns a writer whose lines are written at Info.
func (l *Logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lines{l} }

type lines struct{ logger *Logger }

func (w lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		w.logger.Info(strings.Map(blank, strings.TrimRight(line, "\n")))
	}
	return len(p), nil
}
