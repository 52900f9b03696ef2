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
func (s setting) origin() string { return position(s.File, s.Line) }

// sectionSettings is one section as it was set; File and Line are of its first header.
type sectionSettings struct {
	Name     string             `json:"name"` // as spelled first
	File     string             `json:"file,omitempty"`
	Line     int                `json:"line,omitempty"`
	Options  map[string]setting `json:"options"` // by lower-case key
	implicit bool
}

// settings are the sections that are set, by lower-case name.
type settings map[string]*sectionSettings

// section returns the section called name and makes it if need be.
func (s settings) section(name string) *sectionSettings {
	folded := strings.ToLower(name)
	if s[folded] == nil {
		s[folded] = &sectionSettings{Name: name, Options: map[string]setting{}}
	}
	return s[folded]
}

// merge puts the options of one file over those of the files before it.
func (s settings) merge(path string, file *File) {
	for _, from := range file.Sections {
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
	for _, in := range s {
		for key, value := range in.Options {
			if value.Text == "" {
				delete(in.Options, key)
			}
		}
	}
}

// sorted returns the sections by name.
func (s settings) sorted() []*sectionSettings {
	sections := make([]*sectionSettings, 0, len(s))
	for _, in := range s {
		sections = append(sections, in)
	}
	slices.SortFunc(sections, func(a, b *sectionSettings) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return sections
}

// sorted returns the options by key.
func (in *sectionSettings) sorted() []setting {
	options := make([]setting, 0, len(in.Options))
	for _, option := range in.Options {
		options = append(options, option)
	}
	slices.SortFunc(options, func(a, b setting) int {
		return strings.Compare(strings.ToLower(a.Key), strings.ToLower(b.Key))
	})
	return options
}

// position writes file:line, or the file alone where there is no line.
func position(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}
