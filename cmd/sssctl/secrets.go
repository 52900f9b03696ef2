package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"gosssd/cmd/sssctl/output"
	"gosssd/layout"
)

func (t *tool) secretsCommand() *cobra.Command {
	c := parent(&cobra.Command{
		Use:   "secrets COMMAND",
		Short: "Keep secrets in the secrets service",
		Long: "Keep secrets in the secrets service, each user's own.\n" +
			"A NAME that ends in a slash is a container of secrets and of other containers.",
	})
	c.AddCommand(t.secretsListCommand(), t.secretsGetCommand(), t.secretsSetCommand(), t.secretsDeleteCommand(),
		rootOnly(t.secretsRekeyCommand()),
		rootOnly(t.secretsCheckCommand()), rootOnly(t.secretsRepairCommand()), rootOnly(t.secretsDiscardCommand()))
	return c
}

// base adds the flag --uid to a command. It returns a function for use after
// the flags have been parsed: the path of the service below which the secrets
// of the chosen user are.
func base(c *cobra.Command) func() string {
	uid := c.Flags().Uint32("uid", 0, "the secrets of user `UID` instead of one's own; for root")
	return func() string {
		if c.Flags().Changed("uid") {
			return "/users/" + strconv.FormatUint(uint64(*uid), 10) + "/"
		}
		return "/secrets/"
	}
}

func (t *tool) secretsListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list [CONTAINER]",
		Short: "List the names of secrets, of all or of those in a container",
		Args:  arguments(0, 1),
	}
	below := base(c)
	c.ValidArgsFunction = t.secretNames(below)
	printing := output.Add(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		container := ""
		if len(args) > 0 {
			container = strings.TrimRight(args[0], "/") + "/"
		}
		return t.show(c, printing, func() (output.Listing, error) {
			names, err := t.secretsIn(below(), container)
			if err != nil {
				return output.Listing{}, err
			}
			table := output.Table{}
			for _, name := range names {
				table.Rows = append(table.Rows, []output.Cell{output.Text(printable(name))})
			}
			return output.Listing{Table: table, JSON: names}, nil
		})
	}
	return c
}

// secretsIn returns the names in a container, "" for all.
func (t *tool) secretsIn(base, container string) ([]string, error) {
	body, err := t.secret(request{method: http.MethodGet, base: base, name: container, form: jsonType})
	if refused, ok := errors.AsType[*refusal](err); ok && refused.status == http.StatusNotFound && container == "" {
		return []string{}, nil // which is how the service says that there are none
	} else if err != nil {
		return nil, err
	}
	names := []string{}
	if err := json.Unmarshal(body, &names); err != nil {
		return nil, fmt.Errorf("the answer is no list of names: %w", err)
	}
	return names, nil
}

func (t *tool) secretsGetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "get NAME",
		Short: "Write a secret to stdout",
		Args:  arguments(1, 1),
	}
	below := base(c)
	c.ValidArgsFunction = t.secretNames(below)
	c.RunE = func(c *cobra.Command, args []string) error {
		if isContainer(args[0]) {
			return fmt.Errorf("%s is a container; %s secrets list shows what is in it", args[0], layout.Current().Tool)
		}
		value, err := t.secret(request{method: http.MethodGet, base: below(), name: args[0], form: octetType})
		if err != nil {
			return err
		}
		if isTerminal(os.Stdout) {
			value = append(value, '\n')
		}
		_, err = c.OutOrStdout().Write(value)
		return err
	}
	return c
}

func (t *tool) secretsSetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "set NAME [VALUE]",
		Short: "Store a secret, or make a container",
		Long: "Store a secret under a name that is not taken, or make the container that NAME ends in a slash for.\n" +
			"Without VALUE, which other users can see while the command runs, it is read from stdin to its end,\n" +
			"byte for byte.",
		Args: arguments(1, 2),
	}
	below := base(c)
	c.ValidArgsFunction = t.secretNames(below)
	c.RunE = func(c *cobra.Command, args []string) error {
		name := args[0]
		if isContainer(name) {
			if len(args) > 1 {
				return fmt.Errorf("%s is a container and has no value", name)
			}
			_, err := t.secret(request{method: http.MethodPost, base: below(), name: name, form: octetType})
			return err
		}
		value, err := valueOf(args[1:], c.InOrStdin())
		if err != nil {
			return err
		}
		_, err = t.secret(request{method: http.MethodPut, base: below(), name: name, form: octetType, body: value})
		return err
	}
	return c
}

// valueOf returns the value of a secret: the argument, or what stdin holds.
func valueOf(args []string, stdin io.Reader) (value []byte, err error) {
	if len(args) > 0 {
		value = []byte(args[0])
	} else if value, err = io.ReadAll(stdin); err != nil {
		return nil, err
	}
	if len(value) == 0 {
		return nil, errors.New("an empty secret cannot be stored")
	}
	return value, nil
}

func (t *tool) secretsDeleteCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a secret, or an empty container",
		Args:  arguments(1, 1),
	}
	below := base(c)
	c.ValidArgsFunction = t.secretNames(below)
	c.RunE = func(_ *cobra.Command, args []string) error {
		_, err := t.secret(request{method: http.MethodDelete, base: below(), name: args[0], form: octetType})
		return err
	}
	return c
}

func isContainer(name string) bool { return strings.HasSuffix(name, "/") }

// printable quotes a name that could pass for something else on a terminal.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

func isTerminal(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
