package confdb

import (
	"fmt"
	"slices"
	"strings"
)

// setting is one option as it was set, and where.
type setting struct {
	Key  string `json:"key"` // as spelled first
	Text string `json:"text"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// origin is the place a setting comes from, as file:line.
func (s setting) origin() string { return place(s.File, s.Line) }

// group is one section as it was set; File and Line are of its first header.
type group struct {
	Name     string             `json:"name"` // as spelled first
	File     string             `json:"file,omitempty"`
	Line     int                `json:"line,omitempty"`
	Options  map[string]setting `json:"options"` // by lower-case key
	implicit bool
}

// settings are the sections that are set, by lower-case name.
type settings map[string]*group

// section returns the group called name and makes it if need be.
func (s settings) section(name string) *group {
	folded := strings.ToLower(name)
	if s[folded] == nil {
		s[folded] = &group{Name: name, Options: map[string]setting{}}
	}
	return s[folded]
}

// merge puts the options of one file over those of the files before it.
func (s settings) merge(path string, file *File) {
	for _, from := range file.Groups {
		to := s.section(from.Name)
		if to.File == "" {
			to.File, to.Line, to.implicit = path, from.Line, from.Implicit
		}
		for _, entry := range from.Entries {
			folded := strings.ToLower(entry.Key)
			key := entry.Key
			if earlier, found := to.Options[folded]; found {
				key = earlier.Key
			}
			to.Options[folded] = setting{Key: key, Text: entry.Value, File: path, Line: entry.Line}
		}
	}
}

// dropEmpty removes the options whose last value is empty: setting an option
// to nothing is how a snippet unsets what a file before it has set.
func (s settings) dropEmpty() {
	for _, g := range s {
		for key, value := range g.Options {
			if value.Text == "" {
				delete(g.Options, key)
			}
		}
	}
}

// sorted returns the groups by name.
func (s settings) sorted() []*group {
	groups := make([]*group, 0, len(s))
	for _, g := range s {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return groups
}

// sorted returns the options by key.
func (g *group) sorted() []setting {
	options := make([]setting, 0, len(g.Options))
	for _, option := range g.Options {
		options = append(options, option)
	}
	slices.SortFunc(options, func(a, b setting) int {
		return strings.Compare(strings.ToLower(a.Key), strings.ToLower(b.Key))
	})
	return options
}

// place writes file:line, or the file alone where there is no line.
func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}
