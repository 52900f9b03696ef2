// Command sssctl is the administrator's tool: it asks the monitor over the
// private bus, and checks and shows the configuration.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"gosssd/confdb"
	"gosssd/responder"
)

func main() { os.Exit(run(os.Args[1:])) }

// errFound says that a command did its work and found something amiss, which
// it has printed.
var errFound = errors.New("problems were found")

// run executes a command and returns the exit code: 0, or 1 for any failure,
// as SSSD's sssctl does.
func run(args []string) int {
	t := &tool{}
	root := t.command()
	root.SetArgs(args)
	err := root.Execute()
	if err != nil && !errors.Is(err, errFound) {
		fmt.Fprintf(os.Stderr, "sssctl: %v\n", err)
	}
	if err != nil {
		return 1
	}
	return 0
}

// tool is what all commands share.
type tool struct {
	rootDir string
	root    responder.Root
}

func (t *tool) command() *cobra.Command {
	c := &cobra.Command{
		Use:           "sssctl COMMAND",
		Short:         "Look after sssd and its responders",
		Version:       responder.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) (err error) {
			t.root, err = responder.MakeRoot(t.rootDir)
			return err
		},
		RunE: func(c *cobra.Command, _ []string) error {
			c.SetOut(os.Stderr)
			return errors.Join(c.Usage(), errFound)
		},
	}
	c.PersistentFlags().StringVar(&t.rootDir, "root", "", "put `DIR` in front of every path")
	c.AddCommand(t.statusCommand(), t.debugLevelCommand(), t.configCheckCommand(), t.configShowCommand())
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
