package confdb

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// Report prints the findings as sssctl config-check of SSSD does: what the
// validators say, what happened while files were merged, the snippets used;
// names and headings of the three blocks are SSSD's. Each finding is preceded
// by its file:line. What is of SSSD but not served, and what is set twice in
// one file, follows in further blocks if there is any. It returns the number of
// problems, by which a script should judge.
func (c *Config) Report(w io.Writer) (problems int) {
	var out bytes.Buffer
	for _, path := range c.Missing {
		kind := "Directory"
		if path == c.main {
			kind = "File"
		}
		fmt.Fprintf(&out, "%s %s does not exist.\n", kind, path)
	}
	if slices.Contains(c.Missing, c.main) && len(c.Snippets) == 0 {
		fmt.Fprintln(&out, "There is no configuration.")
	}
	problems += printBlock(&out, "Issues identified by validators", c.checked(BadName, BadValue, UnknownName, Unusable))
	fmt.Fprintln(&out)
	problems += printBlock(&out, "Messages generated during configuration merging", c.checked(BadFile))
	fmt.Fprintln(&out)
	printBlock(&out, "Used configuration snippet files", c.Snippets)
	for _, block := range []struct {
		heading string
		lines   []string
	}{{"Warnings", c.checked(Warning)}, {"Notes", c.checked(NotServed, Adjusted, Superseded, Unread)}} {
		if len(block.lines) > 0 {
			fmt.Fprintln(&out)
			printBlock(&out, block.heading, block.lines)
		}
	}
	// Where the report cannot be written there is nobody left to tell.
	_, _ = w.Write(out.Bytes())
	return problems
}

// checked returns the findings of some kinds as config-check prints them.
func (c *Config) checked(kinds ...FindingKind) []string {
	var lines []string
	for _, finding := range c.Findings {
		if slices.Contains(kinds, finding.Kind) {
			lines = append(lines, finding.checked())
		}
	}
	return lines
}

func printBlock(w io.Writer, heading string, lines []string) int {
	fmt.Fprintf(w, "%s: %d\n", heading, len(lines))
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
	return len(lines)
}
