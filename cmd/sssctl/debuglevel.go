package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"gosssd/cmd/responders"
	"gosssd/responder/log"
)

func (t *tool) debugLevelCommand() *cobra.Command {
	named := map[string]*bool{}
	c := &cobra.Command{
		Use:   "debug-level [LEVEL]",
		Short: "Show or change what running services log",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			services, err := t.services()
			if err != nil {
				return err
			}
			var problems []error
			someNamed := slices.ContainsFunc(services, func(s status) bool { return *named[s.Name] })
			for _, s := range services {
				if someNamed && !*named[s.Name] {
					continue
				}
				if s.DebugLevel == 0 { // it does not run
					if *named[s.Name] {
						fmt.Fprintf(c.OutOrStdout(), "%-25s %s\n", s.Name, "Unreachable service")
						problems = append(problems, errFound)
					}
					continue
				}
				problems = append(problems, t.debugLevel(c, s, args))
			}
			return errors.Join(problems...)
		},
	}
	for _, name := range serviceNames() {
		named[name] = c.Flags().Bool(name, false, "only "+name)
	}
	return c
}

// debugLevel prints the level of a service, or sets it to args[0].
func (t *tool) debugLevel(c *cobra.Command, s status, args []string) error {
	if len(args) == 0 {
		fmt.Fprintf(c.OutOrStdout(), "%-25s %s\n", s.Name, log.Level(s.DebugLevel))
		return nil
	}
	n, err := strconv.ParseInt(args[0], 0, 32)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a debug level, expected 0 to 10 or a mask such as 0x0070", args[0])
	}
	_, err = t.monitor("SetDebugLevel", s.Name, uint32(log.Mask(n)))
	return err
}

// serviceNames are the names debug-level and status know.
func serviceNames() []string {
	names := []string{"sssd"}
	for _, d := range responders.List() {
		names = append(names, d.Name)
	}
	return names
}
