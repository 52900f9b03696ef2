// Package explain looks for every known cause of a failure, one by one, and
// says in words what is wrong and what mends it. It opens nothing: what there is
// to know is in a Scene.
package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"gosssd/kcm"
	"gosssd/kcm/protocol"
)

// State is the outcome of a check.
type State string

// The outcomes.
const (
	Well      State = "well"
	Problem   State = "problem"
	Unchecked State = "unchecked" // it could not be made; Text says why
)

// Finding is what came of one check.
type Finding struct {
	Check string `json:"check"`
	State State  `json:"state"`
	Text  string `json:"text"`
	Cure  []Step `json:"cure"` // in this order
}

// The kinds of steps.
const (
	Run   = "run"   // Text is a command
	Write = "write" // Text replaces line Line of File, or is the whole new File if Line is 0
	After = "after" // Text becomes the line behind line Line of File
	See   = "see"   // Text is what a person must see to
)

// Step is one step of a cure.
type Step struct {
	Do   string `json:"do"`
	User string `json:"user"` // who takes it
	Text string `json:"text"`
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// String is the step as an order to a person.
func (s Step) String() string {
	text := "\n" + indent + strings.ReplaceAll(s.Text, "\n", "\n"+indent)
	switch {
	case s.Do == Run:
		return "as " + s.User + " run:" + text
	case s.Do == After:
		return fmt.Sprintf("as %s add behind line %d of %s:%s", s.User, s.Line, s.File, text)
	case s.Do == Write && s.Line > 0:
		return fmt.Sprintf("as %s write in line %d of %s:%s", s.User, s.Line, s.File, text)
	case s.Do == Write:
		return fmt.Sprintf("as %s make the file %s:%s", s.User, s.File, text)
	}
	return "as " + s.User + ": " + s.Text
}

const indent = "       "

// Scene is all that the checks look at.
type Scene struct {
	Now     time.Time
	Tool    string // the administrator's tool
	Monitor string // the monitor, as its unit is called
	Units   bool   // systemd holds the sockets, not the monitor
	Krb5    Krb5
	Socket  Socket
	System  *System // nil: only root is told
	Of      *User   // nil: nobody's tickets are looked at
}

// User is whose tickets are looked at.
type User struct {
	UID    uint32
	Name   string // or the number, if there is none
	Self   bool   // it is the caller
	Err    error  // why the caches could not be read
	Caches []Cache
	Used   *kcm.Used // nil: not known
}

// Cache is a credential cache. Times are by the KDC's clock.
type Cache struct {
	kcm.Listed
	TGT    *protocol.Times // nil: there is none
	Offset time.Duration   // by which the KDC's clock is ahead
}

// check looks for one cause.
type check struct {
	name  string
	root  bool     // the system is asked, which tells root only
	user  bool     // it is about one user
	needs []string // checks that must have gone well for this one to say anything
	look  func(*Scene) Finding
}

// checks are all checks; a cause comes before what it brings about.
func checks() []check {
	return []check{
		{name: "configuration", root: true, look: configuration},
		{name: "services", root: true, look: services},
		{name: "listener", look: listener},
		{name: "monitor", root: true, needs: []string{"listener"}, look: monitor},
		{name: "responders", root: true, needs: []string{"monitor"}, look: responders},
		{name: "socket", needs: []string{"listener", "monitor"}, look: socket},
		{name: "permissions", needs: []string{"socket"}, look: permissions},
		{name: "server", needs: []string{"responders", "permissions"}, look: server},
		{name: "storage", root: true, needs: []string{"monitor", "responders"}, look: storage},
		{name: "krb5.conf", look: krb5Conf},
		{name: "kcm_socket", needs: []string{"krb5.conf"}, look: kcmSocket},
		{name: "KRB5CCNAME", user: true, look: krb5ccname},
		{name: "limits", root: true, needs: []string{"server"}, look: limits},
		{name: "tickets", user: true, needs: []string{"server"}, look: tickets},
		{name: "clock", user: true, needs: []string{"server"}, look: clock},
		{name: "renewal", root: true, user: true, needs: []string{"server"}, look: renewal},
	}
}

// Look makes all checks that concern the scene.
func Look(s *Scene) []Finding {
	var findings []Finding
	lacking := map[string]bool{} // checks that did not go well
	for _, c := range checks() {
		if c.user && s.Of == nil {
			continue
		}
		f := unchecked("only root is told")
		if i := slices.IndexFunc(c.needs, func(name string) bool { return lacking[name] }); i >= 0 {
			f = unchecked("nothing can be said as long as %q is not well", c.needs[i])
			lacking[c.name] = true
		} else if !c.root || s.System != nil {
			f = c.look(s)
			lacking[c.name] = f.State != Well
		}
		f.Check = c.name
		findings = append(findings, f)
	}
	return findings
}

// AllWell reports whether no check has found a problem.
func AllWell(findings []Finding) bool {
	return !slices.ContainsFunc(findings, func(f Finding) bool { return f.State == Problem })
}

// Text is what a person reads: a line for each check, and the cures below it.
func Text(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		state := string(f.State)
		if f.State == Problem {
			state = strings.ToUpper(state)
		}
		fmt.Fprintf(&b, "%-10s %s: %s\n", state, f.Check, visible(strings.ReplaceAll(f.Text, "\n", "; ")))
		for i, step := range f.Cure {
			fmt.Fprintf(&b, "    %d. %s\n", i+1, visible(step.String()))
		}
	}
	return b.String()
}

// visible shows what a terminal would obey: names are what users have made up.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func well(format string, args ...any) Finding {
	return Finding{State: Well, Text: fmt.Sprintf(format, args...), Cure: []Step{}}
}

func unchecked(format string, args ...any) Finding {
	return Finding{State: Unchecked, Text: fmt.Sprintf(format, args...), Cure: []Step{}}
}

// problem is a finding with a text; steps are added by with.
func problem(format string, args ...any) Finding {
	return Finding{State: Problem, Text: fmt.Sprintf(format, args...), Cure: []Step{}}
}

func (f Finding) with(steps ...Step) Finding {
	f.Cure = append(f.Cure, steps...)
	return f
}

const root = "root"

func run(user, format string, args ...any) Step {
	return Step{Do: Run, User: user, Text: fmt.Sprintf(format, args...)}
}

func see(user, format string, args ...any) Step {
	return Step{Do: See, User: user, Text: fmt.Sprintf(format, args...)}
}
