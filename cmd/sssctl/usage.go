package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
)

// usageError is a command line that cannot be understood.
type usageError struct {
	command *cobra.Command
	text    string
}

// Error says what is wrong with the command line.
func (e *usageError) Error() string { return e.text }

// arguments takes from least to most arguments.
func arguments(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) > most:
			return &usageError{c, fmt.Sprintf("there is an argument too many: %q", args[most])}
		case len(args) < least:
			return &usageError{c, "an argument is missing"}
		}
		return nil
	}
}

// speak gives a command and all below it our words for its usage, in place of
// the framework's.
func speak(root *cobra.Command) {
	root.SetFlagErrorFunc(optionError)
	root.SetUsageFunc(func(c *cobra.Command) error {
		printUsage(c, c.OutOrStderr())
		return nil
	})
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintf(c.OutOrStdout(), "%s\n\n", text)
		printUsage(c, c.OutOrStdout())
	})
	root.SetVersionTemplate(responder.VersionOf(layout.Current().Tool) + "\n")
	root.PersistentFlags().BoolP("help", "?", false, "explain the command")
	root.Flags().Bool("version", false, "print the version and exit")
	root.SetHelpCommand(&cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(c *cobra.Command, args []string) error {
			found, rest, err := c.Root().Find(args)
			if len(rest) > 0 {
				return noSuchCommand(found, rest)
			} else if err != nil {
				return err
			}
			return found.Help()
		},
	})
	root.CompletionOptions.DisableDefaultCmd = true
}

// optionError words what is wrong with an option.
func optionError(c *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	return &usageError{c, responder.OptionError(c.Flags(), err)}
}

// printUsage writes one usage line, the commands below c and its options.
func printUsage(c *cobra.Command, w io.Writer) {
	fmt.Fprintln(w, usageLine(c))
	if c.HasAvailableSubCommands() {
		fmt.Fprint(w, "\nCommands:\n")
		table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(table, "  %s\t%s\n", sub.Name(), sub.Short)
			}
		}
		_ = table.Flush() // as the rest, where nobody reads nobody is left to tell
	}
	options := pflag.NewFlagSet("", pflag.ContinueOnError)
	options.AddFlagSet(c.LocalFlags())
	options.AddFlagSet(c.InheritedFlags())
	fmt.Fprintf(w, "\nOptions:\n%s", responder.Usages(options))
	if !c.HasParent() {
		fmt.Fprintf(w, "\nExit status: 0 if the command has done what was asked and has found nothing wrong; see %s(8).\n", layout.Current().Tool)
	}
}

func usageLine(c *cobra.Command) string {
	return "Usage: " + strings.TrimSpace(strings.TrimSuffix(c.CommandPath(), c.Name())+c.Use) + " [OPTION...]"
}

// noSuchCommand is the error for a word that names no command.
func noSuchCommand(parent *cobra.Command, args []string) error {
	text := fmt.Sprintf("there is no command %q", args[0])
	var names []string
	for _, sub := range parent.Commands() {
		names = append(names, sub.Name())
	}
	if near := confdb.Nearest(args[0], names); near != "" {
		text += fmt.Sprintf("; did you mean '%s'?", near)
	}
	return &usageError{parent, fmt.Sprintf("%s\n'%s --help' lists the commands", text, parent.CommandPath())}
}

// printUsageError says what is wrong with a command line, and how it is to be.
func printUsageError(w io.Writer, err *usageError) {
	fmt.Fprintf(w, "%s: %s\n", layout.Current().Tool, err.text)
	if !err.command.HasAvailableSubCommands() {
		fmt.Fprintln(w, usageLine(err.command))
	}
}

// parent makes a command that only has commands below it: without the name of
// one it prints its usage on stderr and fails.
func parent(c *cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return noSuchCommand(c, args)
		}
		printUsage(c, c.ErrOrStderr())
		return errFound
	}
	return c
}

// completionCommand prints what makes a shell complete commands.
func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print a script that completes commands, for bash, zsh or fish",
		Args:      arguments(1, 1),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, args []string) error {
			w := c.OutOrStdout()
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(w, true)
			case "zsh":
				return c.Root().GenZshCompletion(w)
			case "fish":
				return c.Root().GenFishCompletion(w, true)
			}
			return errors.New("the shell is none of bash, zsh and fish")
		},
	}
}
