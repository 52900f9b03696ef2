package sbus

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Bounds of match rules. Arguments up to arg63 can be matched (D-Bus
// Specification, "Match Rules").
const (
	maxRules    = 64 // of one connection
	maxRule     = 1024
	maxArgIndex = 63
)

var errRule = errors.New("invalid match rule")

// rule is a parsed match rule. Empty fields match everything.
type rule struct {
	kind          dbus.Type // 0: any
	sender        string
	iface         string
	member        string
	path          string
	pathNamespace string
	destination   string
	eavesdrop     bool      // wants what is addressed to others too; without meaning to a monitor, which gets it anyway
	args          []argRule // by index and kind, so that equal rules compare equal
}

// argRule is a condition on one argument.
type argRule struct {
	index int
	kind  argKind
	value string
}

type argKind int

const (
	argEqual     argKind = iota // argN: the string itself
	argPath                     // argNpath: the path, or a directory above or below it
	argNamespace                // argNnamespace: the name, or one below it
)

// parseRule parses a match rule.
func parseRule(text string) (rule, error) {
	if len(text) > maxRule {
		return rule{}, fmt.Errorf("%w: longer than %d bytes", errRule, maxRule)
	}
	var r rule
	seen := make(map[string]bool)
	for rest := text; strings.TrimLeft(rest, " ") != ""; {
		key, value, after, err := nextPair(strings.TrimLeft(rest, " "))
		if err != nil {
			return rule{}, err
		}
		if seen[key] {
			return rule{}, fmt.Errorf("%w: %s is given twice", errRule, key)
		}
		if err := r.set(key, value); err != nil {
			return rule{}, err
		}
		seen[key], rest = true, after
	}
	if r.path != "" && r.pathNamespace != "" {
		return rule{}, fmt.Errorf("%w: both path and path_namespace", errRule)
	}
	slices.SortFunc(r.args, func(a, b argRule) int { return 3*(a.index-b.index) + int(a.kind-b.kind) })
	return r, nil
}

// nextPair takes key=value from the front of a rule, and the comma after it.
// Within apostrophes everything is literal; outside of them \' is one.
func nextPair(s string) (key, value, rest string, err error) {
	key, s, ok := strings.Cut(s, "=")
	if !ok {
		return "", "", "", fmt.Errorf("%w: %q has no value", errRule, key)
	}
	var out strings.Builder
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'':
			quoted = !quoted
		case c == ',' && !quoted:
			return key, out.String(), s[i+1:], nil
		case c == '\\' && !quoted && strings.HasPrefix(s[i+1:], "'"):
			out.WriteByte('\'')
			i++
		default:
			out.WriteByte(c)
		}
	}
	if quoted {
		return "", "", "", fmt.Errorf("%w: %s has an open apostrophe", errRule, key)
	}
	return key, out.String(), "", nil
}

// set puts one condition into the rule.
func (r *rule) set(key, value string) error {
	if value == "" && !strings.HasPrefix(key, "arg") {
		return fmt.Errorf("%w: %s is empty", errRule, key)
	}
	switch key {
	case "type":
		return r.setType(value)
	case "sender":
		r.sender = value
	case "interface":
		r.iface = value
	case "member":
		r.member = value
	case "path":
		r.path = value
	case "path_namespace":
		r.pathNamespace = value
	case "destination":
		r.destination = value
	case "eavesdrop":
		r.eavesdrop = value == "true"
		if !r.eavesdrop && value != "false" {
			return fmt.Errorf("%w: eavesdrop=%q", errRule, value)
		}
	default:
		return r.setArg(key, value)
	}
	if (key == "path" || key == "path_namespace") && !dbus.ObjectPath(value).IsValid() {
		return fmt.Errorf("%w: %s=%q is no path", errRule, key, value)
	}
	return nil
}

func (r *rule) setType(value string) error {
	switch value {
	case "method_call":
		r.kind = dbus.TypeMethodCall
	case "method_return":
		r.kind = dbus.TypeMethodReply
	case "error":
		r.kind = dbus.TypeError
	case "signal":
		r.kind = dbus.TypeSignal
	default:
		return fmt.Errorf("%w: type=%q", errRule, value)
	}
	return nil
}

func (r *rule) setArg(key, value string) error {
	number, ok := strings.CutPrefix(key, "arg")
	kind := argEqual
	if n, is := strings.CutSuffix(number, "path"); is {
		number, kind = n, argPath
	} else if n, is := strings.CutSuffix(number, "namespace"); is {
		number, kind = n, argNamespace
	}
	index, err := strconv.Atoi(number)
	// Other spellings of a number, as in arg00, would name an argument twice.
	if !ok || err != nil || number != strconv.Itoa(index) || index < 0 || index > maxArgIndex || kind == argNamespace && index != 0 {
		return fmt.Errorf("%w: unknown key %q", errRule, key)
	}
	r.args = append(r.args, argRule{index, kind, value})
	return nil
}

func (r rule) equal(other rule) bool {
	return slices.Equal(r.args, other.args) &&
		r.kind == other.kind && r.eavesdrop == other.eavesdrop && r.sender == other.sender && r.iface == other.iface && r.member == other.member &&
		r.path == other.path && r.pathNamespace == other.pathNamespace && r.destination == other.destination
}

// matches reports whether a message meets every condition. owns tells whether
// its sender is the owner of a well-known name, by which rules may name it.
func (r rule) matches(f *frame, owns func(name string) bool) bool {
	return (r.kind == 0 || r.kind == f.kind) &&
		(r.sender == "" || r.sender == f.text(dbus.FieldSender) || owns(r.sender)) &&
		(r.iface == "" || r.iface == f.text(dbus.FieldInterface)) &&
		(r.member == "" || r.member == f.text(dbus.FieldMember)) &&
		(r.path == "" || r.path == f.text(dbus.FieldPath)) &&
		(r.pathNamespace == "" || within(f.text(dbus.FieldPath), r.pathNamespace, "/")) &&
		(r.destination == "" || r.destination == f.text(dbus.FieldDestination)) &&
		r.matchesArgs(f)
}

func (r rule) matchesArgs(f *frame) bool {
	if len(r.args) == 0 {
		return true
	}
	args := f.plainArgs()
	return !slices.ContainsFunc(r.args, func(a argRule) bool { return !a.matches(args) })
}

func (a argRule) matches(args []any) bool {
	if a.index >= len(args) {
		return false
	}
	var value string
	switch v := args[a.index].(type) {
	case string:
		value = v
	case dbus.ObjectPath:
		if a.kind != argPath {
			return false
		}
		value = string(v)
	default:
		return false
	}
	switch a.kind {
	case argPath:
		return value == a.value ||
			strings.HasSuffix(a.value, "/") && strings.HasPrefix(value, a.value) ||
			strings.HasSuffix(value, "/") && strings.HasPrefix(a.value, value)
	case argNamespace:
		return within(value, a.value, ".")
	}
	return value == a.value
}

// within reports whether s is base or lies below it.
func within(s, base, separator string) bool {
	return s == base || base == "/" || strings.HasPrefix(s, base+separator)
}
