package confdb

import (
	"bytes"
	"fmt"
	"strings"
)

// The longest names libini accepts, in bytes.
const (
	maxSectionName = 1024
	maxKey         = 1023
)

// blank is what C's isspace calls white space; libini trims nothing else, so
// a no-break space is part of a value.
const blank = " \t\n\v\f\r"

// guard is put around every name and value in the text for ini.v1. No name
// may contain a control character, and ini.v1's rules about quotes, brackets,
// dashes and Unicode blanks apply at the ends only: behind a guard they are off.
const guard = "\x01"

// scanner reads the lines of a file as libini does. It notes what is wrong,
// and where every section and option stands, and writes the same content
// again in the part of the dialect that ini.v1 shares.
type scanner struct {
	file   *File
	text   bytes.Buffer
	errors SyntaxErrors

	number   int          // of the current line
	comment  int          // the line on which the open C comment began, or 0
	current  *FileSection // nil before the first section
	sections map[string]*FileSection
	settings map[*FileSection]map[string]*Entry
}

// scan returns what stands where in text, without the values, and the text to
// take the values from.
func scan(text []byte) (*File, []byte, SyntaxErrors) {
	s := &scanner{file: &File{}, sections: map[string]*FileSection{}, settings: map[*FileSection]map[string]*Entry{}}
	for line := range bytes.Lines(text) {
		s.number++
		s.line(bytes.TrimRight(line, blank))
	}
	if s.comment != 0 {
		s.number++
		s.fail(incompleteComment, fmt.Sprintf("It began on line %d; a line that is '*/' and nothing else does not end it.", s.comment))
	}
	return s.file, s.text.Bytes(), s.errors
}

// line takes one line, trimmed on the right.
func (s *scanner) line(line []byte) {
	switch {
	case len(line) == 0 || line[0] == 0:
	case s.comment != 0:
		if len(line) > len("*/") && bytes.HasSuffix(line, []byte("*/")) {
			s.comment = 0
		}
	case bytes.HasPrefix(line, []byte("/*")):
		if len(line) < len("/**/") || !bytes.HasSuffix(line, []byte("*/")) {
			s.comment = s.number
		}
	case line[0] == '#', line[0] == ';', bytes.HasPrefix(line, []byte("//")):
	case line[0] == '[':
		s.section(line)
	default:
		s.option(line)
	}
}

func (s *scanner) section(line []byte) {
	if line[len(line)-1] != ']' {
		hint := ""
		if bytes.IndexByte(line, ']') > 0 {
			hint = "Nothing may follow the ']' of a section, not even a comment."
		}
		s.fail(noClosingBracket, hint)
		return
	}
	name := bytes.Trim(line[1:len(line)-1], blank)
	if len(name) > maxSectionName {
		s.fail(longSectionName, "")
		return
	}
	name = bytes.TrimRight(untilNUL(name), blank)
	if len(name) == 0 {
		s.fail(noSectionName, "")
		return
	}
	if c := badCharacter(name); c != "" {
		s.fail(invalidCharacter, c)
		return
	}
	s.enter(string(name), false)
}

func (s *scanner) option(line []byte) {
	indented := bytes.TrimLeft(line, blank)
	if i := bytes.IndexAny(line[:len(line)-len(indented)], "\v\f\r"); i >= 0 {
		s.fail(badFirstCharacter, "")
		return
	}
	key, value, found := bytes.Cut(indented, []byte("="))
	if !found || bytes.IndexByte(key, 0) >= 0 {
		s.fail(noEqualSign, equalSignHint(line, indented))
		return
	}
	key = bytes.TrimRight(key, blank)
	switch c := badCharacter(key); {
	case len(key) == 0:
		s.fail(noKey, "")
	case len(key) > maxKey:
		s.fail(longKey, "")
	case c != "":
		s.fail(invalidCharacter, c)
	default:
		s.set(string(key), bytes.Trim(untilNUL(value), blank))
	}
}

// enter makes the section called name the current one.
func (s *scanner) enter(name string, implicit bool) {
	folded := strings.ToLower(name)
	s.current = s.sections[folded]
	if s.current == nil {
		s.current = &FileSection{Name: name, Line: s.number, Implicit: implicit}
		s.sections[folded] = s.current
		s.settings[s.current] = map[string]*Entry{}
		s.file.Sections = append(s.file.Sections, s.current)
	}
	s.text.WriteString("[" + guard + s.current.Name + "]\n")
}

// set notes an option of the current section. The spelling seen first stays,
// the line is the last one's.
func (s *scanner) set(key string, value []byte) {
	if s.current == nil {
		s.enter(implicitSection, true)
	}
	folded := strings.ToLower(key)
	entry := s.settings[s.current][folded]
	if entry == nil {
		entry = &Entry{Key: key}
		s.settings[s.current][folded] = entry
		s.current.Entries = append(s.current.Entries, entry)
	} else {
		entry.Earlier = append(entry.Earlier, entry.Line)
	}
	entry.Line = s.number
	s.text.WriteString(guard + entry.Key + "=" + guard)
	s.text.Write(value)
	s.text.WriteString(guard + "\n")
}

func (s *scanner) fail(code int, hint string) {
	s.errors = append(s.errors, &SyntaxError{Code: code, Line: s.number, Hint: hint})
}

// equalSignHint guesses what a line without '=' was meant to be.
func equalSignHint(line, indented []byte) string {
	switch {
	case indented[0] == '#', indented[0] == ';', bytes.HasPrefix(indented, []byte("/*")):
		return "A comment must begin in the first column."
	case indented[0] == '[':
		return "A section must begin in the first column."
	case bytes.IndexByte(indented, ':') > 0:
		return "Only '=' separates an option from its value."
	case len(indented) < len(line):
		return "A value cannot be continued on the next line."
	}
	return "An option is written 'key = value' on one line."
}

// badCharacter names the first character that libini refuses in a name:
// control characters, '!' and whatever is not ASCII.
func badCharacter(name []byte) string {
	for _, r := range string(name) {
		if r < ' ' || r == '!' || r >= 0x80 {
			return fmt.Sprintf("A name may not contain %q.", r)
		}
	}
	return ""
}

// untilNUL cuts text where a C string would end.
func untilNUL(text []byte) []byte {
	before, _, _ := bytes.Cut(text, []byte{0})
	return before
}
