package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gosssd/cmd/responders"
	"gosssd/cmd/sssctl/output"
	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder/log"
)

func (t *tool) debugLevelCommand() *cobra.Command {
	named := map[string]*bool{}
	var persist bool
	var printing *output.Options
	c := &cobra.Command{
		Use:   "debug-level [LEVEL]",
		Short: "Show or change what services log",
		Long: "Show or change what services log: a level from 0 to 10, or a mask of bits such as 0x0070.\n" +
			"Without the name of a service all are meant. A service that does not run gets the level when it starts.\n" +
			"A change lasts until " + layout.Current().Monitor + " starts again;\n" +
			"with --persist it is also written to a snippet of sssd.conf, for the next start of " + layout.Current().Monitor + ".",
		Args:              arguments(0, 1),
		ValidArgsFunction: t.completeFirst(levelNames),
		RunE: func(c *cobra.Command, args []string) error {
			names := chosen(named)
			switch {
			case len(args) == 1 && printing.Chosen():
				return &usageError{c, "--json and the like are for the list, without LEVEL"}
			case len(args) == 1:
				return t.setLevels(c, names, args[0], persist)
			case persist:
				return errors.New("--persist needs a LEVEL")
			}
			return t.show(c, printing, func() (output.Listing, error) { return t.levels(names) })
		},
	}
	printing = output.Add(c)
	for _, name := range serviceNames() {
		named[name] = c.Flags().Bool(name, false, "only "+name)
	}
	c.Flags().BoolVar(&persist, "persist", false, "keep LEVEL after a restart of "+layout.Current().Monitor)
	return c
}

// chosen returns the services that were named; all of them if none was.
func chosen(named map[string]*bool) (names []string) {
	for _, name := range serviceNames() {
		if *named[name] {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return serviceNames()
	}
	return names
}

// levelEntry is a service in the JSON of debug-level; sssctl(8) has the fields.
type levelEntry struct {
	Service string `json:"service"`
	Mask    uint32 `json:"mask"`
}

// levels lists what services log.
func (t *tool) levels(names []string) (output.Listing, error) {
	var text strings.Builder
	entries := []levelEntry{}
	err := t.each(names, func(s status) error {
		fmt.Fprintf(&text, "%-25s %s\n", s.Name, log.Level(s.DebugLevel))
		entries = append(entries, levelEntry{s.Name, s.DebugLevel})
		return nil
	})
	return output.Listing{Text: text.String(), JSON: entries}, err
}

// setLevels changes the levels of services. Persistent ones are
// written first, and then it is no failure that SSSD does not run: it will
// start with them.
func (t *tool) setLevels(c *cobra.Command, names []string, text string, persist bool) error {
	mask, err := parseLevel(text)
	if err != nil {
		return err
	}
	var problem error
	if persist {
		if problem, err = t.persistLevel(c, names, mask); err != nil {
			return err
		}
	}
	err = t.each(names, func(s status) error {
		_, err := t.monitor("SetDebugLevel", s.Name, uint32(mask))
		return err
	})
	if persist && errors.Is(err, errNotRunning) {
		err = nil
	}
	return errors.Join(err, problem)
}

// each visits the services with these names.
func (t *tool) each(names []string, visit func(status) error) error {
	services, err := t.services()
	if err != nil {
		return err
	}
	var problems []error
	for _, s := range services {
		if slices.Contains(names, s.Name) {
			problems = append(problems, visit(s))
		}
	}
	return errors.Join(problems...)
}

// parseLevel reads a level as SSSD does: decimal, 0x hexadecimal or 0 octal,
// a level or a mask.
func parseLevel(text string) (log.Level, error) {
	n, err := confdb.ParseInt(text)
	highest := log.Mask(10)
	if err != nil || n < 0 || n > int64(highest) {
		return 0, fmt.Errorf("%q is not a debug level, expected 0 to 10 or a mask from 0x0010 to %v", text, highest)
	}
	return log.Mask(n), nil
}

// serviceNames are the names debug-level and status know.
func serviceNames() []string {
	names := []string{layout.Current().Monitor}
	for _, d := range responders.List() {
		names = append(names, d.Name)
	}
	return names
}
