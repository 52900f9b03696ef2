package responder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder/log"
)

// Version is the version of all programs; the build sets it.
var Version = "devel"

// The exit codes of a responder, as of sssd_kcm(8).
const (
	exitOK     = 0
	exitUsage  = 1
	exitServer = 2
	exitInit   = 3
	exitConfig = 4
)

// claimTime is how long a responder waits for the one it replaces to end.
const claimTime = 90 * time.Second

// Main runs a responder to its end and returns the exit code: it reads the
// command line and the configuration database, takes over its sockets or binds
// them, attaches to the monitor's bus, and serves clients until a signal, the
// monitor or long idleness ends it.
func Main(d Descriptor, construct Constructor) int {
	flags, code, done := parseFlags(d, os.Args[1:], os.Stdout, os.Stderr)
	if done {
		return code
	}
	socket, err := inherit()
	if err != nil {
		return failEarly(d, flags, exitInit, err)
	}
	code = socket.serve(d, construct, flags)
	if code != exitOK {
		socket.refuse(d)
	}
	return code
}

// serve is Main once the command line and the handed-over socket are known.
func (h inherited) serve(d Descriptor, construct Constructor, flags flags) int {
	// The claim comes before the configuration is read: a new sssd commits its
	// configuration and then looks for claims, so that no process can start
	// with the old one behind its back.
	claimCtx, claimed := context.WithTimeout(context.Background(), claimTime)
	instance, err := ClaimWhenFree(claimCtx, flags.root.Path(d.ClaimPath()))
	claimed()
	if err != nil {
		return failEarly(d, flags, exitInit, err)
	}
	defer func() { _ = instance.Release() }()
	conf, confErr := openConfig(d, flags)
	if conf == nil {
		return failEarly(d, flags, exitConfig, confErr)
	}
	if err := flags.root.MakeDirs(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", d.Program(), err)
		return exitServer
	}
	logger := openLog(d, flags, conf)
	defer logger.Flush()
	if confErr != nil {
		logger.Error("the configuration database is missing, built-in defaults are in force; start "+layout.Current().Monitor+" to make it", "error", confErr)
	}
	err = run(d, construct, flags, conf, logger, h)
	if err != nil {
		logger.Fatal("cannot go on", "error", err)
		fmt.Fprintf(os.Stderr, "%s: %v\n", d.Program(), err)
		return exitInit
	}
	return exitOK
}

// failEarly tells, also in the responder's own log, why it cannot start before
// the options of the log are known.
func failEarly(d Descriptor, f flags, code int, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", d.Program(), err)
	if defaults, defaultsErr := confdb.NewSnapshot(d.schema(), nil); defaultsErr == nil && !f.ToStderr() {
		openLog(d, f, defaults).Fatal("cannot start", "error", err)
	}
	return code
}

// flags is the command line of a responder.
type flags struct {
	LogFlags
	root     Root
	database string
}

func parseFlags(d Descriptor, args []string, stdout, stderr io.Writer) (f flags, code int, done bool) {
	set := pflag.NewFlagSet(d.Program(), pflag.ContinueOnError)
	f.Add(set)
	addIdentity(set)
	root := set.String("root", "", "put `DIR` in front of every path")
	set.StringVarP(&f.database, "config", "c", "", "read the configuration database `FILE`")
	if code, done = ParseFlags(d.Program(), set, args, stdout, stderr); done {
		return f, code, true
	}
	var err error
	if f.root, err = MakeRoot(*root); err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", d.Program(), err)
		return f, exitUsage, true
	}
	if f.database == "" {
		f.database = f.root.Path(layout.Current().Database)
	}
	return f, exitOK, false
}

// restoreTime is how long a responder waits for the monitor to restore a
// configuration database that is missing or damaged.
const restoreTime = 5 * time.Second

// openConfig reads the configuration database. While an sssd runs it is there,
// or about to be restored. A missing one is not fatal otherwise: the defaults
// come with the error that should be reported.
func openConfig(d Descriptor, f flags) (*confdb.Snapshot, error) {
	schema := d.schema()
	conf, err := confdb.Open(f.database, schema)
	for deadline := time.Now().Add(restoreTime); lost(err) && HolderPID(f.root.Path(layout.Current().PIDFile)) != 0 && time.Now().Before(deadline); {
		linux.Sleep(context.Background(), 10*time.Millisecond)
		conf, err = confdb.Open(f.database, schema)
	}
	if errors.Is(err, os.ErrNotExist) {
		defaults, defaultsErr := confdb.NewSnapshot(schema, nil)
		return defaults, errors.Join(err, defaultsErr)
	}
	return conf, err
}

func lost(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, confdb.ErrDamaged)
}

func openLog(d Descriptor, f flags, conf *confdb.Snapshot) *log.Logger {
	options := f.Options(conf.Section(d.Section()))
	options.Program = d.Name
	options.File = f.root.Path(LogDir + "/" + d.Program() + ".log")
	return log.Open(options)
}

func run(d Descriptor, construct Constructor, f flags, conf *confdb.Snapshot, logger *log.Logger, socket inherited) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	protectMemory(logger)
	limitMemory()
	endpoints, err := socket.open(d, f.root, conf, logger)
	if err != nil {
		return err
	}
	fdLimit, err := limitDescriptors(conf.Section(d.Section()).Int("fd_limit"), logger)
	if err != nil {
		return fmt.Errorf("fd_limit: %w", err)
	}

	bus := &attachment{sockets: socket.toLend(endpoints), socket: f.root.Path(layout.Current().Bus), name: d.Name, signals: d.Signals, log: logger}
	handler, err := construct(&Service{Descriptor: d, Root: f.root, Conf: conf, Log: logger, Signal: bus.emit})
	if err != nil {
		return err
	}
	defer func() {
		for _, e := range endpoints {
			_ = e.Close()
		}
	}()
	p := &process{
		descriptor: d, database: f.database, log: logger, logFlags: f.LogFlags, handler: handler, bus: bus,
		server: newServer(endpoints, handler, logger, fdLimit, limitsOf(conf.Section(d.Section()))),
		drain:  make(chan struct{}), since: time.Now(),
	}
	p.conf.Store(conf)
	p.serve(ctx, signals, socket.main != nil)
	return handler.Close()
}
