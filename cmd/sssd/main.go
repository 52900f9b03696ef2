// Command sssd is the monitor: it reads sssd.conf into the configuration
// database, serves the private D-Bus, holds the responders' sockets and
// supervises the responders.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"gosssd/cmd/responders"
	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/responder/log"
)

// The exit codes, as of sssd(8).
const (
	exitOK       = 0
	exitUsage    = 1
	exitConfig   = 3
	exitRunning  = 6
	exitDatabase = 8
	exitServer   = 9
	exitInit     = 10
)

func main() { os.Exit(run()) }

func run() int {
	f, code, done := parseFlags(os.Args[1:], os.Stdout, os.Stderr)
	if done {
		return code
	}
	if f.genconf {
		return generate(f)
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2) // which kill, until the monitor handles them
	child, kept := isDaemonChild(), keptFromBefore()
	if f.daemon && !child && !kept.Again {
		return daemonize()
	}
	instance, err := claim(f.root.Path(layout.Current().PIDFile), kept)
	if errors.Is(err, responder.ErrRunning) {
		return fail(exitRunning, err)
	} else if err != nil {
		return f.fail(exitServer, err)
	}
	defer func() { _ = instance.Release() }()
	if err := f.root.MakeDirs(); err != nil {
		return f.fail(exitServer, err)
	}
	config, conf, code := commit(f, kept.Again)
	if code != exitOK {
		return code
	}
	return serve(f, config, conf, instance, kept, child)
}

// commit puts the configuration of the files into force. A restart has checked
// them a moment ago; if they are wrong by now, the database is as it was then.
func commit(f flags, again bool) (*confdb.Config, *confdb.Snapshot, int) {
	path := f.root.Path(layout.Current().Database)
	config, err := f.configuration()
	code := exitConfig
	var conf *confdb.Snapshot
	if err == nil {
		code = exitDatabase
		conf, err = config.Commit(path)
	}
	if err == nil {
		f.warn(config)
		return config, conf, exitOK
	}
	if again {
		conf, openErr := confdb.Open(path, responder.Schema(responders.List()))
		if openErr == nil {
			f.logStartError(fmt.Errorf("%s goes on with the configuration of before: %w", layout.Current().Monitor, err))
			return &confdb.Config{}, conf, exitOK
		}
	}
	if code == exitConfig {
		f.logStartError(err)
		return nil, nil, refuse(err)
	}
	return nil, nil, f.fail(code, err)
}

// refuse lists what is wrong with the configuration on stderr.
func refuse(err error) (code int) {
	fmt.Fprintln(os.Stderr, err)
	return fail(exitConfig, fmt.Errorf("the configuration is not used; a running %s and its responders go on with theirs", layout.Current().Monitor))
}

// claim makes this the one sssd below its root, or finds that it is already.
func claim(path string, kept *kept) (*responder.Instance, error) {
	if fd, found := kept.take(path); found {
		return responder.Adopt(uintptr(fd))
	}
	return responder.Claim(path)
}

// configuration reads and checks sssd.conf; the error names everything that is
// wrong with it.
func (f flags) configuration() (*confdb.Config, error) {
	config, err := responder.LoadConfig(f.sources(), f.root, responders.List())
	if err == nil {
		err = config.Err()
	}
	if err == nil && f.config != "" && slices.Contains(config.Missing, f.config) {
		err = fmt.Errorf("%s: %w", f.config, os.ErrNotExist)
	}
	return config, err
}

// warn tells on stderr of findings that an administrator should not miss.
func (f flags) warn(config *confdb.Config) {
	for _, finding := range config.Findings {
		if finding.Kind.Loud() && (f.genconf || !f.log.ToStderr()) { // else the log says it there
			fmt.Fprintf(os.Stderr, "%s: warning: %v\n", layout.Current().Monitor, finding)
		}
	}
}

// generate rebuilds the configuration database, whole or one section of it,
// and ends.
func generate(f flags) int {
	config, err := f.configuration()
	if err != nil {
		return refuse(err)
	}
	f.warn(config)
	path := f.root.Path(layout.Current().Database)
	if f.section != "" {
		_, err = config.CommitSection(path, f.section)
	} else {
		_, err = config.Commit(path)
	}
	switch {
	case errors.Is(err, confdb.ErrNoSection):
		return fail(exitUsage, err)
	case err != nil:
		return fail(exitDatabase, err)
	}
	return exitOK
}

func serve(f flags, config *confdb.Config, conf *confdb.Snapshot, instance *responder.Instance, kept *kept, daemon bool) int {
	logger := f.openLog(conf)
	defer logger.Flush()
	for _, finding := range config.Findings {
		level := hclog.Info
		if finding.Kind.Loud() {
			level = hclog.Warn
		}
		logger.Log(level, "configuration", "finding", finding)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	m := newMonitor(responders.List(), &f, conf, logger, instance)
	err := m.run(ctx, kept, func() {
		logger.Info("ready", "generation", conf.Generation)
		responder.Notify(fmt.Sprintf("READY=1\nMAINPID=%d\nSTATUS=Serving configuration generation %d", os.Getpid(), conf.Generation))
		if daemon {
			detach()
		}
	})
	if err != nil {
		logger.Fatal("cannot go on", "error", err)
		return fail(exitInit, err)
	}
	logger.Info("ended")
	return exitOK
}

func (f flags) openLog(conf *confdb.Snapshot) *log.Logger {
	options := f.log.Options(conf.Section(responder.MonitorSection))
	options.Program = layout.Current().Monitor
	options.File = f.root.Path(responder.LogDir + "/" + layout.Current().Monitor + ".log")
	return log.Open(options)
}

// fail tells why sssd cannot start: on stderr, and in the log.
func (f flags) fail(code int, err error) int {
	f.logStartError(err)
	return fail(code, err)
}

// logStartError writes why sssd cannot start to the log, where the reason is found when
// nobody has seen stderr.
func (f flags) logStartError(err error) {
	defaults, defaultsErr := confdb.NewSnapshot(responder.Schema(responders.List()), nil)
	if defaultsErr != nil || f.log.ToStderr() {
		return
	}
	logger := f.openLog(defaults)
	defer logger.Flush()
	for line := range strings.Lines(err.Error()) {
		logger.Fatal("cannot start", "error", strings.TrimSpace(line))
	}
}

func fail(code int, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", layout.Current().Monitor, err)
	return code
}
