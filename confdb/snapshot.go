package confdb

import (
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"time"
)

// Snapshot is one immutable generation of the configuration. Every value in
// it has passed its option's check, so reading one cannot fail.
type Snapshot struct {
	Generation uint64    // counts up with every change that sssd commits; 0 means built-in defaults
	Hash       string    // SHA-256 of what is set, hexadecimal; comments and layout of the files do not count
	Time       time.Time // when it was committed

	schema   Schema
	sections settings
}

// NewSnapshot checks values (section, key, text) against schema and returns
// them as generation 0. It is what a missing database stands for, and what
// tests start from.
func NewSnapshot(schema Schema, values map[string]map[string]string) (*Snapshot, error) {
	s := &Snapshot{schema: schema, sections: settings{}}
	for name, options := range values {
		section := schema.Match(name)
		if section == nil {
			return nil, fmt.Errorf("section [%s] is not known", name)
		}
		kept := s.sections.section(name)
		for key, text := range options {
			option := section.Option(key)
			switch {
			case option != nil:
				if err := option.Check(text); err != nil {
					return nil, fmt.Errorf("[%s] %s: %w", name, key, err)
				}
			case !section.Open:
				return nil, fmt.Errorf("[%s] has no option %s", name, key)
			}
			kept.Options[strings.ToLower(key)] = setting{Key: key, Text: text}
		}
	}
	s.Hash = s.sections.hash()
	return s, nil
}

// Sections returns the names of the sections that are set and begin with
// prefix, sorted, in lower case.
func (s *Snapshot) Sections(prefix string) []string {
	var names []string
	for name := range s.sections {
		if strings.HasPrefix(name, strings.ToLower(prefix)) {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// Section returns a view of one section; a section that is not set has the
// defaults of its declaration.
func (s *Snapshot) Section(name string) View {
	view := View{name: name, declared: s.schema.Match(name)}
	if in := s.sections[strings.ToLower(name)]; in != nil {
		view.set = in.Options
	}
	return view
}

// View reads the options of one section. Its methods panic for an option the
// section does not declare, or declares of another kind: that is a mistake in
// the program, not in sssd.conf.
type View struct {
	name     string
	declared *Section
	set      map[string]setting
}

// IsSet reports whether the option is set to something in sssd.conf.
func (v View) IsSet(key string) bool {
	return v.set[strings.ToLower(key)].Text != ""
}

// String returns a String, Path or Word; a Word comes in its declared spelling.
func (v View) String(key string) string {
	option, text := v.text(key, String, Path, Word)
	if option.Kind == Word {
		return option.word(text)
	}
	return text
}

// Int returns an Int, in the option's unit. An option without value or
// default is 0.
func (v View) Int(key string) int64 {
	_, text := v.text(key, Int)
	n, _ := parseInt(text)
	return n
}

// Bool returns a Bool; an option without value or default is false.
func (v View) Bool(key string) bool {
	_, text := v.text(key, Bool)
	return strings.EqualFold(text, "true")
}

// Duration returns a Duration; an option without value or default is 0.
func (v View) Duration(key string) time.Duration {
	_, text := v.text(key, Duration)
	seconds, _ := parseSeconds(text)
	return time.Duration(seconds) * time.Second
}

// Mode returns a Mode; an option without value or default is 0.
func (v View) Mode(key string) fs.FileMode {
	_, text := v.text(key, Mode)
	mode, _ := parseMode(text)
	return mode
}

// List returns the elements of a List; nil when there are none.
func (v View) List(key string) []string {
	_, text := v.text(key, List)
	return splitList(text)
}

func (v View) text(key string, kinds ...Kind) (*Option, string) {
	if v.declared == nil {
		panic(fmt.Sprintf("confdb: section [%s] is not declared", v.name))
	}
	option := v.declared.Option(key)
	if option == nil {
		panic(fmt.Sprintf("confdb: [%s] %s is not declared", v.name, key))
	}
	for _, kind := range kinds {
		if option.Kind == kind {
			return option, option.inForce(v.set[strings.ToLower(key)].Text)
		}
	}
	panic(fmt.Sprintf("confdb: [%s] %s is read as another kind than it is declared", v.name, key))
}
