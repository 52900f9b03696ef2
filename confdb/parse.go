package confdb

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"gopkg.in/ini.v1"
)

// implicitSection is where libini puts options that stand before the first
// section.
const implicitSection = "default"

// File is what one file says: its sections and options in the order in which
// they appear first. Names compare without regard to case and keep the
// spelling that was seen first.
type File struct {
	Sections []*FileSection
}

// FileSection is one section of a file; sections of the same name are one section.
type FileSection struct {
	Name     string
	Line     int  // of its first header
	Implicit bool // made for options before the first header
	Entries  []*Entry
}

// Entry is one option of a file. The last of several settings counts.
type Entry struct {
	Key, Value string
	Line       int   // of the setting that counts
	Earlier    []int // lines of settings that do not
}

// The errors of libini's parser, by its numbers.
const (
	noClosingBracket  = 2
	noSectionName     = 3
	longSectionName   = 4
	noEqualSign       = 5
	noKey             = 6
	longKey           = 7
	badFirstCharacter = 13
	incompleteComment = 15
	invalidCharacter  = int(syscall.EINVAL)
	badEncoding       = int(syscall.EILSEQ)
)

var syntaxTexts = map[int]string{
	noClosingBracket:  "No closing bracket.",
	noSectionName:     "Section name is missing.",
	longSectionName:   "Section name is too long.",
	noEqualSign:       "Equal sign is missing.",
	noKey:             "Property name is missing.",
	longKey:           "Property name is too long.",
	badFirstCharacter: "Invalid character at the beginning of the line.",
	incompleteComment: "Incomplete comment at the end of the file.",
	invalidCharacter:  "Invalid character.",
	badEncoding:       "Invalid text encoding.",
}

// SyntaxError is a line that libini refuses. Code is its error number: those
// of its parser, EINVAL for a name with a character it does not allow or a
// file that ends within a character, EILSEQ for text that is not UTF-8.
type SyntaxError struct {
	Code int
	Line int
	Hint string // what may help; "" if there is nothing to say
}

// Error words the error as libini does, followed by the hint.
func (e *SyntaxError) Error() string {
	text := fmt.Sprintf("Error (%d) on line %d: %s", e.Code, e.Line, syntaxTexts[e.Code])
	if e.Hint != "" {
		text += " " + e.Hint
	}
	return text
}

// SyntaxErrors are all the lines of a file that libini refuses, in order; it
// would itself name the first only.
type SyntaxErrors []*SyntaxError

// Error joins the errors, one to a line.
func (e SyntaxErrors) Error() string { return errors.Join(e.Unwrap()...).Error() }

// Unwrap returns the single errors.
func (e SyntaxErrors) Unwrap() []error {
	all := make([]error, len(e))
	for i := range e {
		all[i] = e[i]
	}
	return all
}

// iniOptions switch off whatever ini.v1 knows beyond libini's dialect. The
// delimiter of child sections cannot occur in a name.
var iniOptions = ini.LoadOptions{
	IgnoreContinuation:       true,
	IgnoreInlineComment:      true,
	PreserveSurroundedQuote:  true,
	KeyValueDelimiters:       "=",
	KeyValueDelimiterOnWrite: "=",
	ChildSectionDelimiter:    "\x00",
}

// Parse reads one file in the dialect of libini 0.6 with the flags that SSSD
// sets: no continuation lines, no comments behind a value, no quoting, the
// last of several values counts. What is wrong with the text is returned as
// SyntaxErrors; the file then has no meaning and is nil.
func Parse(r io.Reader) (*File, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	text, encodingError := decode(data)
	if encodingError != nil {
		return nil, SyntaxErrors{encodingError}
	}
	file, guarded, faults := scan(text)
	if faults != nil {
		return nil, faults
	}
	content, err := ini.LoadSources(iniOptions, guarded)
	if err != nil {
		return nil, fmt.Errorf("scanned text: %w", err)
	}
	for _, section := range file.Sections {
		guarded := content.Section(guard + section.Name)
		for _, entry := range section.Entries {
			// Value, not String, which would expand %(name)s.
			value := guarded.Key(guard + entry.Key).Value()
			entry.Value = value[len(guard) : len(value)-len(guard)]
		}
	}
	return file, nil
}
