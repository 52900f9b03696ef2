package confdb

import (
	"cmp"
	"slices"
	"strings"
)

// FindingKind says what a finding is about.
type FindingKind int

// The kinds of findings, the graver ones first.
const (
	// These keep a configuration from being committed.
	BadName  FindingKind = iota // an option of a declared section that does not exist, or a misspelt section
	BadValue                    // a value its option does not take
	BadFile                     // a file that cannot be used, or does not parse
	// These are mistakes for config-check, but SSSD would start all the same.
	UnknownName // a section that neither SSSD nor the schema knows
	Unusable    // a value that is right by itself, but what it names cannot be used
	// These are no mistakes.
	Warning    // accepted, but without the effect that an administrator may rely on
	NotServed  // of SSSD, but not of this build
	Adjusted   // a value that counts as another one
	Superseded // set again in the same section of the same file
	Unread     // a file that is not read
)

// Stops reports whether findings of this kind keep sssd from starting.
func (k FindingKind) Stops() bool { return k <= BadFile }

// Counts reports whether findings of this kind make config-check fail.
func (k FindingKind) Counts() bool { return k <= Unusable }

// Loud reports whether findings of this kind must reach an administrator who
// did not ask for them.
func (k FindingKind) Loud() bool { return k <= Warning }

// String returns the word for a kind, for programs.
func (k FindingKind) String() string {
	return [...]string{"bad_name", "bad_value", "bad_file", "unknown_name", "unusable", "warning", "not_served", "adjusted", "superseded", "unread"}[k]
}

// Finding is one thing worth telling about the configuration.
type Finding struct {
	File string
	Line int // 0 if it is about the file as a whole
	Kind FindingKind
	Text string

	check string // Text as sssctl config-check of SSSD words it; "" if it does not
}

// String returns the finding as "file:line: text".
func (f Finding) String() string { return position(f.File, f.Line) + ": " + f.Text }

// checked returns the finding as config-check prints it.
func (f Finding) checked() string {
	if f.check == "" {
		return f.String()
	}
	return position(f.File, f.Line) + ": " + f.check
}

// Tell adds a finding about an option, at the place where it is set. It is for
// what more than one declaration, or the machine, must be asked for.
func (c *Config) Tell(kind FindingKind, section, key, text string) {
	in := c.values[strings.ToLower(section)]
	if in == nil {
		in = &sectionSettings{Name: section, File: c.main}
	}
	set := in.Options[strings.ToLower(key)]
	if set.File == "" {
		set.Key, set.File, set.Line = key, in.File, in.Line
	}
	c.about(kind, in, set, text)
	c.sortFindings()
}

// about adds a finding about an option that is set.
func (c *Config) about(kind FindingKind, in *sectionSettings, set setting, text string) {
	c.Findings = append(c.Findings, Finding{File: set.File, Line: set.Line, Kind: kind, Text: "[" + in.Name + "] " + set.Key + ": " + text})
}

// sortFindings orders the findings as the files are read, line by line.
func (c *Config) sortFindings() {
	slices.SortStableFunc(c.Findings, func(a, b Finding) int {
		if (a.File == c.main) != (b.File == c.main) {
			if a.File == c.main {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
}
