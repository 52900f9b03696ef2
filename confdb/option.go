// Package confdb is the configuration database: sssd.conf and its snippets in
// libini's dialect, checked against options that are declared once, and kept
// as immutable, numbered snapshots that every other process reads.
package confdb

import "strings"

// Kind says how the text of an option is to be read.
type Kind int

// The kinds of values sssd.conf knows.
const (
	String   Kind = iota // any text
	Path                 // an absolute file name
	Word                 // one of Option.Words, in any case
	Bool                 // true or false, in any case
	Int                  // decimal or 0x hexadecimal
	Duration             // seconds, or krb5 deltat such as 60m, 1h, 1d12h
	List                 // comma separated, blanks trimmed, empty elements dropped
	Mode                 // who may use a file, octal as for chmod(1): 600, 0660
)

// String names the kind for people: "an integer", "a boolean" …
func (k Kind) String() string {
	return [...]string{"text", "an absolute path", "a word", "a boolean", "an integer", "a duration", "a list", "an octal mode"}[k]
}

// Option declares one option of a section: the loader, config-check, the
// manual pages and the README table all read this declaration.
type Option struct {
	Key     string
	Kind    Kind
	Default string   // as it would be written in sssd.conf; "" means unset
	Unit    string   // "s", "KiB", "" …, for people
	Min     int64    // smallest Int or Duration (in seconds)
	Max     int64    // largest; 0 means no upper bound but the type's
	ZeroToo bool     // 0 is right as well, though it is below Min
	Clamp   bool     // what is below Min or above Max is accepted, and counts as that bound
	Words   []string // the accepted words of a Word
	Text    string   // one line for people
	Live    bool     // takes effect without a restart of the responder
	Secret  bool     // masked wherever it is shown

	// NotServed says why the option has no effect here. It is accepted with
	// any value, since SSSD takes it; "" for an option that is served. Missed
	// means that an administrator who sets it must be told unasked.
	NotServed string
	Missed    bool
	// Odd says what is strange about an Int that is accepted; "" if nothing
	// is, and nil for an option without such values.
	Odd func(n int64) string
}

// Section declares one section of sssd.conf. A Name that ends in "*" declares a
// family: every section whose last element begins alike and goes on, as in
// "secrets/users/*" and "kcm/socket *".
type Section struct {
	Name    string
	Text    string
	Options []Option
	// Open sections accept options that are not declared and report them
	// once as not served by this build.
	Open bool
	// Numbered families take a number for the last element, as a uid.
	Numbered bool
}

// Schema is the set of sections a configuration is checked against.
type Schema []Section

// Match returns the declaration of the section called name, or nil. Names
// compare without regard to case.
func (s Schema) Match(name string) *Section {
	for i := range s {
		if strings.EqualFold(s[i].Name, name) && !s[i].family() {
			return &s[i]
		}
	}
	for i := range s {
		if s[i].family() && matchName(s[i].Name, name) {
			return &s[i]
		}
	}
	return nil
}

func (s *Section) family() bool { return strings.HasSuffix(s.Name, "*") }

// matchName reports whether a section's name fits pattern, in which "*" stands
// for any one element, or for the rest of the one whose end it is.
func matchName(pattern, name string) bool {
	wanted, given := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(wanted) != len(given) {
		return false
	}
	for i := range wanted {
		if !matchElement(wanted[i], given[i]) {
			return false
		}
	}
	return true
}

func matchElement(wanted, given string) bool {
	start, open := strings.CutSuffix(wanted, "*")
	if !open {
		return strings.EqualFold(wanted, given)
	}
	return len(given) > len(start) && strings.EqualFold(given[:len(start)], start)
}

// Option returns the declaration of key, or nil. Keys compare without regard
// to case.
func (s *Section) Option(key string) *Option {
	for i := range s.Options {
		if strings.EqualFold(s.Options[i].Key, key) {
			return &s.Options[i]
		}
	}
	return nil
}
