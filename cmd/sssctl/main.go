// Command sssctl is the administrator's tool: it asks the monitor over the
// private bus, checks and shows the configuration, looks after the logs and
// keeps secrets.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/responder/log"
)

func main() { os.Exit(run(os.Args[1:])) }

// errFound says that a command did its work and found something amiss, which
// it has printed.
var errFound = errors.New("problems were found")

// sentence is an error in the words of SSSD's sssctl, which scripts may know:
// it is printed as it is.
type sentence string

func (s sentence) Error() string { return string(s) }

// exitNotRunning is the exit code of status where sssd does not run, as of
// systemctl status and the LSB's init scripts.
const exitNotRunning = 3

// exit is an error with an exit code of its own.
type exit struct {
	error
	code int
}

func (e exit) Unwrap() error { return e.error }

// run executes a command and returns the exit code: 0, or 1 for any failure,
// as SSSD's sssctl does, unless the error has a code of its own.
func run(args []string) int {
	t := &tool{}
	root := t.command()
	root.SetArgs(args)
	out := &stdout{to: os.Stdout}
	root.SetOut(out)
	err := root.Execute()
	if err == nil {
		err = out.err
	}
	if err == nil {
		return 0
	}
	if said, ok := errors.AsType[sentence](err); ok {
		fmt.Fprintln(os.Stderr, said)
	} else if usage, ok := errors.AsType[*usageError](err); ok {
		printUsageError(os.Stderr, usage)
	} else if !errors.Is(err, errFound) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", layout.Current().Tool, err)
	}
	if coded, ok := errors.AsType[exit](err); ok {
		return coded.code
	}
	return 1
}

// tool is what all commands share.
type tool struct {
	rootDir string
	root    responder.Root
	debug   int64
	log     *log.Logger
}

func (t *tool) command() *cobra.Command {
	c := parent(&cobra.Command{
		Use:               layout.Current().Tool + " COMMAND",
		Short:             "Look after " + layout.Current().Monitor + " and its responders",
		Version:           responder.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: t.prepare,
	})
	c.PersistentFlags().StringVar(&t.rootDir, "root", "", "put `DIR` in front of every path")
	c.PersistentFlags().Int64Var(&t.debug, "debug", 0, "what to say on stderr of the way to "+layout.Current().Monitor+", as debug_level `LEVEL`")
	_ = c.PersistentFlags().MarkHidden("debug")
	_ = c.MarkPersistentFlagDirname("root")
	speak(c)
	c.AddCommand(
		rootOnly(t.statusCommand()),
		rootOnly(t.metricsCommand()),
		rootOnly(t.topCommand()),
		t.explainCommand(),
		rootOnly(t.restartCommand()),
		rootOnly(t.debugLevelCommand()),
		t.configCheckCommand(),
		t.configShowCommand(),
		rootOnly(t.logsRemoveCommand()),
		rootOnly(t.logsFetchCommand()),
		rootOnly(t.analyzeCommand()),
		t.ccacheCommand(),
		rootOnly(t.importCommand()),
		t.secretsCommand(),
		completionCommand(),
	)
	return c
}

// prepare is what comes before every command.
func (t *tool) prepare(c *cobra.Command, _ []string) (err error) {
	t.log = log.Open(log.Options{Program: layout.Current().Tool, Destination: "stderr", Level: log.Mask(t.debug), Timestamps: true})
	if t.root, err = responder.MakeRoot(t.rootDir); err != nil {
		return err
	}
	if c.Annotations[forRoot] != "" && !t.root.Within() && os.Geteuid() != 0 {
		return sentence(fmt.Sprintf("'%s' must be run as root", c.Name()))
	}
	return nil
}

// forRoot marks commands in cobra's annotations.
const forRoot = "root"

// rootOnly keeps a command for root. Below --root nobody is asked: what the
// user may not do there, the files forbid.
func rootOnly(c *cobra.Command) *cobra.Command {
	c.Annotations = map[string]string{forRoot: "only"}
	return c
}

// sources is where the configuration is read from, and who must own it.
func (t *tool) sources() confdb.Sources {
	s := confdb.Sources{File: t.root.Path(responder.ConfigFile), SnippetDir: t.root.Path(responder.SnippetDir)}
	if t.root.Within() {
		s.OwnerUID = uint32(os.Getuid())
	}
	return s
}
