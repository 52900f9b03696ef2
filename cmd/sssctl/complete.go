package main

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gosssd/cmd/responders"
	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/responder"
)

// completer says what may stand at the place of an argument.
type completer = func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// completeFirst completes the first argument of a command from a list, for which the
// root is known.
func (t *tool) completeFirst(list func(c *cobra.Command, typed string) []string) completer {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		var err error
		if t.root, err = responder.MakeRoot(t.rootDir); err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		words := list(c, typed)
		if len(words) == 1 && strings.HasSuffix(words[0], "/") {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return words, directive
	}
}

// sectionNames are the sections of the committed configuration, or those that
// there may be.
func (t *tool) sectionNames(*cobra.Command, string) []string {
	schema := responder.Schema(responders.List())
	conf, err := confdb.Open(t.root.Path(layout.Current().Database), schema)
	if err != nil {
		if conf, err = confdb.NewSnapshot(schema, nil); err != nil {
			return nil
		}
	}
	var names []string
	for _, row := range conf.Show("") {
		if len(names) == 0 || names[len(names)-1] != row.Section {
			names = append(names, row.Section)
		}
	}
	return names
}

// levelNames are the levels of debug_level, with what each adds.
func levelNames(*cobra.Command, string) []string {
	names := make([]string, len(levelTexts))
	for i, text := range levelTexts {
		names[i] = strconv.Itoa(i) + "\t" + text
	}
	return names
}

// levelTexts say, as sssd.conf(5) does, what each debug level adds.
var levelTexts = [...]string{
	"the process cannot go on", "something an administrator must see to", "an operation failed", "a failure that was coped with",
	"configuration, starts and ends", "data of functions", "operations as they go", "internal control", "internal variables",
	"everything else", "even more",
}

// secretNames are the names of secrets in the container typed so far; below
// is that of base.
func (t *tool) secretNames(below func() string) completer {
	return t.completeFirst(func(_ *cobra.Command, typed string) []string {
		container := typed[:strings.LastIndexByte(typed, '/')+1]
		names, err := t.secretsIn(below(), container)
		if err != nil {
			return nil
		}
		for i := range names {
			names[i] = container + names[i]
		}
		return names
	})
}
