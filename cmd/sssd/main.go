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
		return fail(exitServer, err)
	}
	defer instance.Release()
	if err := f.root.MakeDirs(); err != nil {
		return fail(exitServer, err)
	}
	config, code := load(f)
	if code != exitOK {
		return code
	}
	conf, err := config.Commit(f.root.Path(layout.Current().Database))
	if err != nil {
		return fail(exitDatabase, err)
	}
	return serve(f, config, conf, instance, kept, child)
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

// load is configuration for the start of a program: what is wrong goes to
// stderr.
func load(f flags) (*confdb.Config, int) {
	config, err := f.configuration()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return nil, fail(exitConfig, errors.New("the configuration is not used; a running sssd and its responders go on with theirs"))
	}
	for _, finding := range config.Findings {
		if finding.Kind.Loud() && (f.genconf || !f.log.ToStderr()) { // else the log says it there
			fmt.Fprintf(os.Stderr, "sssd: warning: %v\n", finding)
		}
	}
	return config, exitOK
}

// generate rebuilds the configuration database, whole or one section of it,
// and ends.
func generate(f flags) int {
	config, code := load(f)
	if code != exitOK {
		return code
	}
	path := f.root.Path(layout.Current().Database)
	var err error
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
	options := f.log.Options(conf.Section("sssd"))
	options.Program = "sssd"
	options.File = f.root.Path(responder.LogDir + "/sssd.log")
	logger := log.Open(options)
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

func fail(code int, err error) int {
	fmt.Fprintf(os.Stderr, "sssd: %v\n", err)
	return code
}
