package confdb

// FindingKind says what a finding is about.
type FindingKind int

// The kinds of findings. The first three keep a configuration from being
// committed; the others are worth knowing.
const (
	BadName    FindingKind = iota // a section or option that does not exist
	BadValue                      // a value its option does not take
	BadFile                       // a file that cannot be used, or does not parse
	NotServed                     // of SSSD, but not of this build
	Superseded                    // set again in the same section of the same file
)

// Stops reports whether findings of this kind keep sssd from starting.
func (k FindingKind) Stops() bool { return k <= BadFile }

// Finding is one thing worth telling about the configuration.
type Finding struct {
	File string
	Line int // 0 if it is about the file as a whole
	Kind FindingKind
	Text string

	check string // Text as sssctl config-check of SSSD words it; "" if it does not
}

// String returns the finding as "file:line: text".
func (f Finding) String() string { return place(f.File, f.Line) + ": " + f.Text }

// checked returns the finding as config-check prints it.
func (f Finding) checked() string {
	if f.check == "" {
		return f.String()
	}
	return place(f.File, f.Line) + ": " + f.check
}
