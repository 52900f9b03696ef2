package confdb

import (
	"fmt"
	"slices"
	"strings"
)

// Row is one option of the effective configuration.
type Row struct {
	Section, Key, Value string
	// Origin is file:line, "default" if the option is not set, or "" if it was
	// not set by a file. What stands there is added if it is not in force.
	Origin string
}

// masked stands for a secret wherever configuration is shown.
const masked = "********"

// Show returns the effective configuration: the sections of the schema in its
// order, each with all its options, then the sections of SSSD that are set but
// not served. A section name limits it to that one. Secrets are masked.
func (s *Snapshot) Show(section string) []Row {
	var rows []Row
	for _, name := range s.shown() {
		if section == "" || strings.EqualFold(section, name) {
			rows = append(rows, s.rows(name)...)
		}
	}
	return rows
}

// shown returns the names of all sections to show, in order.
func (s *Snapshot) shown() []string {
	var names []string
	for i := range s.schema {
		declared := &s.schema[i]
		if !declared.family() {
			names = append(names, declared.Name)
			continue
		}
		for _, in := range s.sections.sorted() {
			if s.schema.Match(in.Name) == declared {
				names = append(names, in.Name)
			}
		}
	}
	for _, in := range s.sections.sorted() {
		if s.schema.Match(in.Name) == nil {
			names = append(names, in.Name)
		}
	}
	return names
}

// rows returns the declared options of one section in their order, then the
// others that are set.
func (s *Snapshot) rows(name string) []Row {
	var rows []Row
	var declared []Option
	if section := s.schema.Match(name); section != nil {
		declared = section.Options
	}
	in := s.sections[strings.ToLower(name)]
	if in == nil {
		in = &sectionSettings{}
	}
	for i := range declared {
		option := &declared[i]
		if set, found := in.Options[strings.ToLower(option.Key)]; found && set.Text != "" {
			rows = append(rows, Row{name, option.Key, hide(option.inForce(set.Text), option.Secret), option.originOf(set)})
		} else {
			rows = append(rows, Row{name, option.Key, option.Default, "default"})
		}
	}
	for _, set := range in.sorted() {
		if !slices.ContainsFunc(declared, func(o Option) bool { return strings.EqualFold(o.Key, set.Key) }) {
			rows = append(rows, Row{name, set.Key, hide(set.Text, isSecretKey(set.Key)), set.origin()})
		}
	}
	return rows
}

// originOf tells where a value comes from, and what the file says if that is
// not what is in force.
func (o *Option) originOf(set setting) string {
	switch {
	case o.NotServed != "":
		return set.origin() + ", not served"
	case o.inForce(set.Text) != set.Text:
		return fmt.Sprintf("%s, where it is %s", set.origin(), set.Text)
	}
	return set.origin()
}

func hide(text string, secret bool) string {
	if secret {
		return masked
	}
	return text
}
