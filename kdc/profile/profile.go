// Package profile reads krb5.conf as libkrb5's profile library does: sections
// and subsections, relations with one or many values, finals ("*"), include
// and includedir. (MIT krb5's documentation, krb5_conf "Structure".)
package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// ErrModule is returned for a file that leaves the configuration to a module,
// which only libkrb5 can load.
var ErrModule = errors.New("a profile module cannot be read")

// Profile is what one or several files say, the first file first.
type Profile struct{ files []*node }

// node is a section, a subsection, or a relation, which has a value.
type node struct {
	name     string
	value    string
	origin   Origin // of a relation
	section  bool
	final    bool // of later files, nothing of the same name counts
	children []*node
}

// Origin is where a relation stands. Lines are counted from 1.
type Origin struct {
	File string
	Line int
}

// Relation is a value, and where it stands.
type Relation struct {
	Value string
	Origin
}

// Paths returns the files that libkrb5 reads: those of KRB5_CONFIG, separated
// by colons, or /etc/krb5.conf. The argument is the environment's getter.
func Paths(getenv func(string) string) []string {
	if list := getenv("KRB5_CONFIG"); list != "" {
		return filepath.SplitList(list)
	}
	return []string{"/etc/krb5.conf"}
}

// Load reads files in order. Of several, those that are missing are left out;
// an error names the file and the line.
func Load(paths ...string) (*Profile, error) {
	p := &Profile{}
	var missing error
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			missing = err
			continue
		}
		if err != nil {
			return nil, err
		}
		root := &node{section: true}
		if err := (&parser{root: root}).file(path, string(text)); err != nil {
			return nil, err
		}
		p.files = append(p.files, root)
	}
	if len(p.files) == 0 && missing != nil {
		return nil, missing
	}
	return p, nil
}

// Values returns all values of a relation: the names of its section, its
// subsections, and its own.
func (p *Profile) Values(path ...string) []string {
	var values []string
	for _, relation := range p.Relations(path...) {
		values = append(values, relation.Value)
	}
	return values
}

// Relations is as Values, and tells where each value stands.
func (p *Profile) Relations(path ...string) []Relation {
	var relations []Relation
	for _, root := range p.files {
		final := false
		found := []*node{root}
		for depth, name := range path {
			leaf := depth == len(path)-1
			var next []*node
			for _, parent := range found {
				for _, child := range parent.children {
					if child.name == name && child.section != leaf {
						next = append(next, child)
						final = final || child.final
					}
				}
			}
			found = next
		}
		for _, relation := range found {
			relations = append(relations, Relation{relation.value, relation.origin})
		}
		if final {
			break
		}
	}
	return relations
}

// Value returns the first value of a relation, or "".
func (p *Profile) Value(path ...string) string {
	if values := p.Values(path...); len(values) > 0 {
		return values[0]
	}
	return ""
}

// Bool returns the truth of a relation, or otherwise where it is not set or
// is no word of libkrb5's for true and false.
func (p *Profile) Bool(otherwise bool, path ...string) bool {
	switch strings.ToLower(p.Value(path...)) {
	case "y", "yes", "true", "t", "1", "on":
		return true
	case "n", "no", "false", "nil", "0", "off":
		return false
	}
	return otherwise
}

// parser reads one file and those it includes.
type parser struct {
	root    *node
	at      Origin  // the line that is read
	depth   int     // of includes
	open    []*node // the section and subsections the line is in
	pending bool    // a subsection was named and its "{" is on the next line
}

const maxIncludes = 20 // below each other

func (p *parser) file(path, text string) error {
	for i, line := range strings.Split(text, "\n") {
		p.at = Origin{path, i + 1}
		if err := p.line(strings.TrimSuffix(line, "\r")); err != nil {
			return fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
	}
	return nil
}

// line reads a line. What comes before the first section is skipped.
func (p *parser) line(line string) error {
	if isInclude, err := p.include(line); isInclude || err != nil {
		return err
	}
	if len(p.open) == 0 && !strings.HasPrefix(line, "[") {
		return nil
	}
	text := strings.TrimSpace(line)
	switch {
	case p.pending:
		p.pending = false
		if !strings.HasPrefix(text, "{") {
			return fmt.Errorf(`expected "{": %q`, line)
		}
	case text == "" || text[0] == '#' || text[0] == ';':
	case text[0] == '[':
		return p.section(text)
	case text[0] == '}':
		if len(p.open) < 2 {
			return fmt.Errorf(`"}" without "{": %q`, line)
		}
		last := p.open[len(p.open)-1]
		last.final = last.final || strings.HasPrefix(text, "}*")
		p.open = p.open[:len(p.open)-1]
	default:
		return p.relation(strings.TrimLeftFunc(line, unicode.IsSpace))
	}
	return nil
}

func (p *parser) section(text string) error {
	if len(p.open) > 1 {
		return fmt.Errorf(`a section begins where "}" is missing: %q`, text)
	}
	name, rest, closed := strings.Cut(text[1:], "]")
	rest, final := strings.CutPrefix(rest, "*")
	if rest = strings.TrimSpace(rest); !closed || rest != "" && rest[0] != '#' && rest[0] != ';' {
		return fmt.Errorf("expected [SECTION]: %q", text)
	}
	p.open = []*node{p.root.subsection(name, final)}
	return nil
}

func (p *parser) relation(text string) error {
	name, value, isRelation := strings.Cut(text, "=")
	name = strings.TrimSpace(name)
	if !isRelation || name == "" || strings.ContainsFunc(name, unicode.IsSpace) {
		return fmt.Errorf("expected NAME = VALUE: %q", text)
	}
	name, _, final := strings.Cut(name, "*")
	if value = strings.TrimLeftFunc(value, unicode.IsSpace); !strings.HasPrefix(value, `"`) {
		value = strings.TrimRightFunc(value, unicode.IsSpace)
	}
	last := p.open[len(p.open)-1]
	if value == "" || value == "{" {
		p.open = append(p.open, last.subsection(name, final))
		p.pending = value == ""
		return nil
	}
	last.children = append(last.children, &node{name: name, value: unquote(value), origin: p.at, final: final})
	return nil
}

// subsection returns the section with this name, which may go on from before.
func (n *node) subsection(name string, final bool) *node {
	for _, child := range n.children {
		if child.section && child.name == name {
			child.final = child.final || final
			return child
		}
	}
	child := &node{name: name, section: true, final: final}
	n.children = append(n.children, child)
	return child
}

// include follows a line that includes other files.
func (p *parser) include(line string) (bool, error) {
	word, rest, _ := strings.Cut(strings.Replace(line, "\t", " ", 1), " ")
	path := strings.TrimSpace(rest)
	switch {
	case word == "module" && path != "":
		return true, fmt.Errorf("%w: %s", ErrModule, path)
	case word == "include" && path != "":
		return true, p.included(path)
	case word == "includedir" && path != "":
		entries, err := os.ReadDir(path)
		if err != nil {
			return true, err
		}
		for _, entry := range entries {
			if !entry.IsDir() && includable(entry.Name()) {
				if err := p.included(filepath.Join(path, entry.Name())); err != nil {
					return true, err
				}
			}
		}
		return true, nil
	}
	return false, nil
}

func (p *parser) included(path string) error {
	if p.depth == maxIncludes {
		return fmt.Errorf("%s is included %d levels deep", path, maxIncludes)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return (&parser{root: p.root, depth: p.depth + 1}).file(path, string(text))
}

// includable reports whether includedir takes a file of this name: letters,
// digits, dashes and underscores only, or whatever ends in .conf and does not
// begin with a dot.
func includable(name string) bool {
	if strings.HasSuffix(name, ".conf") && name[0] != '.' {
		return true
	}
	for _, c := range name {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

var escapes = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\b`, "\b", `\\`, `\`, `\"`, `"`)

// unquote takes a value out of its quotes.
func unquote(value string) string {
	if value[0] != '"' {
		return value
	}
	for i := 1; i < len(value); i++ {
		switch value[i] {
		case '\\':
			i++
		case '"':
			return escapes.Replace(value[1:i])
		}
	}
	return escapes.Replace(value[1:])
}
