package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gosssd/cmd/responders"
	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
)

func (t *tool) configCheckCommand() *cobra.Command {
	var file, snippets string
	c := &cobra.Command{
		Use:   "config-check",
		Short: "Check sssd.conf and its snippets",
		Args:  arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			sources := t.sources()
			if file != "" {
				sources.File = file
				sources.SnippetDir = filepath.Join(filepath.Dir(file), "conf.d")
			}
			if snippets != "" {
				sources.SnippetDir = snippets
			}
			config, err := responder.LoadConfig(sources, t.root, responders.List())
			if err != nil {
				return err
			}
			problems := config.Report(c.OutOrStdout())
			if problems > 0 || isMissing(config, file) || isMissing(config, snippets) {
				return errFound
			}
			return nil
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "check `FILE`, and the conf.d beside it")
	c.Flags().StringVarP(&snippets, "snippet", "s", "", "read snippets from `DIR`")
	_ = c.MarkFlagDirname("snippet")
	return c
}

// isMissing reports whether a file or directory that was asked for by name does
// not exist; sssd's own places may be missing.
func isMissing(config *confdb.Config, named string) bool {
	return named != "" && slices.Contains(config.Missing, named)
}

func (t *tool) configShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config-show [SECTION]",
		Short: "Show the configuration in force and where each value comes from",
		Long: "Show the configuration that " + layout.Current().Monitor + " has committed to its database, which is what responders start with.\n" +
			"Each value is followed by the file and line it comes from, or \"default\".",
		Args:              arguments(0, 1),
		ValidArgsFunction: t.completeFirst(t.sectionNames),
		RunE: func(c *cobra.Command, args []string) error {
			conf, err := confdb.Open(t.root.Path(layout.Current().Database), responder.Schema(responders.List()))
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s has not been started yet: %w", layout.Current().Monitor, err)
			} else if err != nil {
				return err
			}
			rows := conf.Show(strings.Join(args, ""))
			if len(rows) == 0 {
				return fmt.Errorf("there is no section [%s]", args[0])
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			section := ""
			for _, row := range rows {
				if row.Section != section {
					section = row.Section
					fmt.Fprintf(w, "[%s]\n", section)
				}
				fmt.Fprintf(w, "%s = %s\t# %s\n", row.Key, row.Value, row.Origin)
			}
			return w.Flush()
		},
	}
}
