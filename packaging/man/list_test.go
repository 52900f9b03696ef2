package man

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gosssd/cmd/responders"
	"gosssd/confdb"
	"gosssd/responder"
)

// entry is one declaration of an option with the sections that share it.
type entry struct {
	option   confdb.Option
	sections []string // as people write them
	defaults []string // of each section
}

// service is the name, in a marker, of the options of every service.
const service = "service"

// sections returns the options of each section under the section's name, those
// of every service apart.
func sections() map[string][]confdb.Option {
	all := map[string][]confdb.Option{service: responder.ServiceOptions()}
	for _, s := range responder.Schema(responders.List()) {
		own := slices.Clone(s.Options)
		if isService(s.Name) {
			own = slices.DeleteFunc(own, func(o confdb.Option) bool {
				return slices.ContainsFunc(all[service], func(general confdb.Option) bool { return alike(general, o) && general.Default == o.Default })
			})
		}
		if len(own) > 0 {
			all[s.Name] = own
		}
	}
	return all
}

func isService(section string) bool {
	return slices.ContainsFunc(responders.List(), func(d responder.Descriptor) bool { return d.Section() == section })
}

// entries returns the options of some sections in their order. One that is
// declared in several of them alike, but for its default, is one entry.
func entries(names []string) []*entry {
	var list []*entry
	options := sections()
	for _, name := range names {
		for _, option := range options[name] {
			i := slices.IndexFunc(list, func(e *entry) bool { return alike(e.option, option) })
			if i < 0 {
				i = len(list)
				list = append(list, &entry{option: option})
			}
			list[i].sections = append(list[i].sections, written(name))
			list[i].defaults = append(list[i].defaults, option.Default)
		}
	}
	return list
}

// alike compares two declarations but for their defaults.
func alike(a, b confdb.Option) bool {
	a.Default, b.Default = "", ""
	a.Odd, b.Odd = nil, nil
	return a.Key == b.Key && fmt.Sprint(a) == fmt.Sprint(b)
}

// written is a section as people write it.
func written(name string) string {
	switch {
	case name == service:
		return "every service"
	case strings.HasPrefix(name, "secrets/users/"):
		return "[secrets/users/UID]"
	}
	return "[" + strings.ReplaceAll(name, "*", "NAME") + "]"
}

func (e *entry) kind() string {
	kind := e.option.Kind.String()
	return kind[strings.IndexByte(kind, ' ')+1:]
}

// value tells the default, and where sections differ in it.
func (e *entry) value() string {
	first := e.defaults[0]
	text := e.measured(first)
	for i, value := range e.defaults {
		if value != first {
			text += fmt.Sprintf(", in %s %s", e.sections[i], e.measured(value))
		}
	}
	return text
}

// measured is a value with its unit.
func (e *entry) measured(value string) string {
	switch {
	case value == "":
		return "none"
	case value == "0", e.option.Unit == "":
		return value
	case e.option.Unit == "s":
		return value + " seconds"
	}
	return value + " " + e.option.Unit
}

// bounds tells what the value may be, "" if anything of its kind.
func (e *entry) bounds() string {
	o := e.option
	switch {
	case o.Kind == confdb.Word:
		return strings.Join(o.Words, ", ")
	case o.Kind != confdb.Int && o.Kind != confdb.Duration:
		return ""
	case o.Min == o.Max && o.Max != 0:
		return fmt.Sprintf("%d only", o.Min)
	}
	text := fmt.Sprintf("%d to %d", o.Min, o.Max)
	if o.Max == 0 || o.Max == math.MaxInt32 {
		text = fmt.Sprintf("%d or more", o.Min)
	}
	if o.ZeroToo {
		text = "0, or " + text
	}
	if o.Clamp {
		text += " (what is beyond counts as the bound)"
	}
	return text
}

// effect tells what puts a change into force.
func (e *entry) effect() string {
	switch {
	case e.option.NotServed != "":
		return "never"
	case e.option.Live:
		return "live"
	}
	return "restart"
}

func (e *entry) text() string { return strings.TrimSuffix(e.option.Text, ".") }

// mdoc writes entries as the items of a tagged list.
func mdoc(names []string) string {
	var out strings.Builder
	for _, e := range entries(names) {
		fmt.Fprintf(&out, ".It Cm %s Pq %s\n%s", e.option.Key, e.kind(), lines(e.text()))
		out.WriteString(".br\n")
		if len(names) > 1 {
			out.WriteString(lines("In " + strings.Join(e.sections, ", ")))
		}
		if e.option.NotServed != "" {
			out.WriteString(lines("Accepted, but without effect: " + e.option.NotServed))
			continue
		}
		out.WriteString(lines("Default: " + e.value()))
		if bounds := e.bounds(); bounds != "" {
			label := "Range"
			if e.option.Kind == confdb.Word {
				label = "One of"
			}
			out.WriteString(lines(label + ": " + bounds))
		}
		if e.option.Secret {
			out.WriteString(lines("Never shown"))
		}
		out.WriteString(lines("In force: " + e.effect()))
	}
	return out.String()
}

// lines writes a sentence as lines of mdoc below 80 characters, none of which
// can be taken for a macro.
func lines(sentence string) string {
	var out strings.Builder
	length := 0
	for word := range strings.FieldsSeq(strings.ReplaceAll(sentence, `\`, `\e`) + ".") {
		switch {
		case length > 0 && length+1+len(word) < 80:
			out.WriteByte(' ')
			length++
		case length > 0:
			out.WriteByte('\n')
			length = 0
		}
		if length == 0 && strings.ContainsAny(word[:1], ".'") {
			word = `\&` + word
		}
		out.WriteString(word)
		length += len(word)
	}
	return out.String() + "\n"
}

// markdown writes entries as the rows of a table.
func markdown(names []string) string {
	var out strings.Builder
	out.WriteString("| Section | Option | Kind | Default | Range | In force | |\n|---|---|---|---|---|---|---|\n")
	for _, e := range entries(names) {
		text := e.text()
		if e.option.NotServed != "" {
			text += "; " + e.option.NotServed
		}
		cells := []string{strings.Join(e.sections, ", "), "`" + e.option.Key + "`", e.kind(), e.value(), e.bounds(), e.effect(), text}
		fmt.Fprintf(&out, "| %s |\n", strings.ReplaceAll(strings.Join(cells, " | "), "|  |", "| – |"))
	}
	return out.String()
}
