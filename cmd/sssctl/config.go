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
	"gosssd/cmd/sssctl/output"
	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
)

func (t *tool) configCheckCommand() *cobra.Command {
	var file, snippets string
	var printing *output.Options
	c := &cobra.Command{
		Use:   "config-check",
		Short: "Check sssd.conf and its snippets",
		Args:  arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			return t.show(c, printing, func() (output.Listing, error) { return t.checkConfig(file, snippets) })
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "check `FILE`, and the conf.d beside it")
	c.Flags().StringVarP(&snippets, "snippet", "s", "", "read snippets from `DIR`")
	_ = c.MarkFlagDirname("snippet")
	printing = output.Add(c)
	return c
}

// checkedConfig is the JSON of config-check; sssctl(8) has the fields.
type checkedConfig struct {
	Problems int            `json:"problems"`
	Findings []findingEntry `json:"findings"`
	Snippets []string       `json:"snippets"`
	Missing  []string       `json:"missing"`
}

type findingEntry struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Kind    string `json:"kind"`
	Problem bool   `json:"problem"`
	Text    string `json:"text"`
}

// checkConfig checks the configuration, or the file and the directory of snippets
// that are not "".
func (t *tool) checkConfig(file, snippets string) (output.Listing, error) {
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
		return output.Listing{}, err
	}
	var text strings.Builder
	checked := checkedConfig{
		Problems: config.Report(&text), Findings: []findingEntry{},
		Snippets: append([]string{}, config.Snippets...), Missing: append([]string{}, config.Missing...),
	}
	for _, f := range config.Findings {
		checked.Findings = append(checked.Findings, findingEntry{f.File, f.Line, f.Kind.String(), f.Kind.Counts(), f.Text})
	}
	if checked.Problems > 0 || isMissing(config, file) || isMissing(config, snippets) {
		err = errFound
	}
	return output.Listing{Text: text.String(), JSON: checked}, err
}

// isMissing reports whether a file or directory that was asked for by name does
// not exist; sssd's own places may be missing.
func isMissing(config *confdb.Config, named string) bool {
	return named != "" && slices.Contains(config.Missing, named)
}

// configEntry is an option in the JSON of config-show.
type configEntry struct {
	Section string `json:"section"`
	Option  string `json:"option"`
	Value   string `json:"value"`
	Origin  string `json:"origin"`
}

func (t *tool) configShowCommand() *cobra.Command {
	var printing *output.Options
	c := &cobra.Command{
		Use:   "config-show [SECTION]",
		Short: "Show the configuration in force and where each value comes from",
		Long: "Show the configuration that " + layout.Current().Monitor + " has committed to its database, which is what responders start with.\n" +
			"Each value is followed by the file and line it comes from, or \"default\".",
		Args:              arguments(0, 1),
		ValidArgsFunction: t.completeFirst(t.sectionNames),
		RunE: func(c *cobra.Command, args []string) error {
			return t.show(c, printing, func() (output.Listing, error) {
				return t.configuration(strings.Join(args, ""))
			})
		},
	}
	printing = output.Add(c)
	return c
}

// configuration lists the options of one section, or of all if section is "".
func (t *tool) configuration(section string) (output.Listing, error) {
	conf, err := confdb.Open(t.root.Path(layout.Current().Database), responder.Schema(responders.List()))
	if errors.Is(err, fs.ErrNotExist) {
		return output.Listing{}, fmt.Errorf("%s has not been started yet: %w", layout.Current().Monitor, err)
	} else if err != nil {
		return output.Listing{}, err
	}
	rows := conf.Show(section)
	if len(rows) == 0 {
		return output.Listing{}, fmt.Errorf("there is no section [%s]", section)
	}
	entries := make([]configEntry, len(rows))
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	section = ""
	for i, row := range rows {
		if row.Section != section {
			section = row.Section
			fmt.Fprintf(w, "[%s]\n", section)
		}
		fmt.Fprintf(w, "%s = %s\t# %s\n", row.Key, row.Value, row.Origin)
		entries[i] = configEntry{row.Section, row.Key, row.Value, row.Origin}
	}
	err = w.Flush()
	return output.Listing{Text: text.String(), JSON: entries}, err
}
