package sbus

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

func TestMatchRules(t *testing.T) {
	signal, err := newSignal(1, address{":1.5", "", "/org/freedesktop/sssd/kcm", "org.freedesktop.sssd.kcm", "CacheCreated"},
		[]any{uint32(1000), "1000:abc", "/aa/bb/", "com.example.backend1", dbus.ObjectPath("/aa/bb")})
	if err != nil {
		t.Fatal(err)
	}
	owns := func(name string) bool { return name == "sssd.kcm" }
	tests := map[string]struct {
		rule    string
		matches bool
		invalid bool
	}{
		"an empty rule matches everything":                     {rule: "", matches: true},
		"type":                                                 {rule: "type='signal'", matches: true},
		"another type":                                         {rule: "type='error'"},
		"all conditions hold":                                  {rule: "type='signal',interface='org.freedesktop.sssd.kcm',member='CacheCreated'", matches: true},
		"one condition does not hold":                          {rule: "type='signal',interface='org.freedesktop.sssd.kcm',member='CacheChanged'"},
		"sender by unique name":                                {rule: "sender=':1.5'", matches: true},
		"sender by well-known name":                            {rule: "sender='sssd.kcm'", matches: true},
		"another sender":                                       {rule: "sender='sssd.secrets'"},
		"path":                                                 {rule: "path='/org/freedesktop/sssd/kcm'", matches: true},
		"path is not a prefix":                                 {rule: "path='/org/freedesktop/sssd'"},
		"path_namespace is one":                                {rule: "path_namespace='/org/freedesktop/sssd'", matches: true},
		"path_namespace of the root":                           {rule: "path_namespace='/'", matches: true},
		"path_namespace ends at a slash":                       {rule: "path_namespace='/org/freedesktop/sss'"},
		"destination":                                          {rule: "destination=':1.7'"},
		"a text argument":                                      {rule: "arg1='1000:abc'", matches: true},
		"a number is no text":                                  {rule: "arg0='1000'"},
		"a path is no text":                                    {rule: "arg4='/aa/bb'"},
		"an argument that is not there":                        {rule: "arg9=''"},
		"argNpath: a directory above":                          {rule: "arg2path='/aa/'", matches: true},
		"argNpath: an entry below":                             {rule: "arg2path='/aa/bb/cc'", matches: true},
		"argNpath: a directory below":                          {rule: "arg2path='/aa/bb/cc/'", matches: true},
		"argNpath: a sibling":                                  {rule: "arg2path='/aa/b'"},
		"argNpath takes paths too":                             {rule: "arg4path='/aa/'", matches: true},
		"values need no apostrophes":                           {rule: "type=signal,member=CacheCreated", matches: true},
		"apostrophes hold commas":                              {rule: "arg1='a,b'"},
		"a comma may end the rule":                             {rule: "type='signal',", matches: true},
		"blanks may follow a comma":                            {rule: "type='signal', member='CacheCreated'", matches: true},
		"an apostrophe escaped outside of apostrophes":         {rule: `arg1=1000:\'`},
		"eavesdrop='false' is what everyone has":               {rule: "eavesdrop='false'", matches: true},
		"an unknown key is invalid":                            {rule: "colour='red'", invalid: true},
		"an unknown type is invalid":                           {rule: "type='letter'", invalid: true},
		"a key without value is invalid":                       {rule: "type", invalid: true},
		"an empty value is invalid, it would match everything": {rule: "sender=''", invalid: true},
		"a key given twice is invalid":                         {rule: "type='signal',type='signal'", invalid: true},
		"arg64 is invalid":                                     {rule: "arg64='x'", invalid: true},
		"arg-1 is invalid":                                     {rule: "arg-1='x'", invalid: true},
		"an open apostrophe is invalid":                        {rule: "member='x", invalid: true},
		"path and path_namespace together are invalid":         {rule: "path='/a',path_namespace='/'", invalid: true},
		"a path that is none is invalid":                       {rule: "path='a'", invalid: true},
		"arg1namespace is invalid, only arg0 has one":          {rule: "arg1namespace='com'", invalid: true},
		"an argument has one spelling":                         {rule: "arg0='a',arg0000='b'", invalid: true},
		"a number has no sign":                                 {rule: "arg+1='a'", invalid: true},
		"an endless rule is invalid":                           {rule: "arg0='" + strings.Repeat("x", maxRule) + "'", invalid: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := parseRule(tc.rule)
			if (err != nil) != tc.invalid {
				t.Fatalf("error is %v", err)
			}
			if err == nil && r.matches(signal, owns) != tc.matches {
				t.Errorf("matches: %v", !tc.matches)
			}
		})
	}
}

func TestArg0Namespace(t *testing.T) {
	r, err := parseRule("arg0namespace='com.example.backend1'")
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]bool{
		"com.example.backend1": true, "com.example.backend1.foo": true, "com.example.backend2": false, "com.example.backend10": false, "": false,
	} {
		msg, err := newSignal(1, address{path: "/", iface: "a.b", member: "C"}, []any{arg})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.matches(msg, nil); got != want {
			t.Errorf("%q: %v", arg, got)
		}
	}
}

// print writes a rule in the form parseRule reads.
func (r rule) print() string {
	var out []string
	add := func(key, value string) {
		if value != "" {
			out = append(out, key+"='"+strings.ReplaceAll(value, "'", `'\''`)+"'")
		}
	}
	add("type", map[dbus.Type]string{
		dbus.TypeMethodCall: "method_call", dbus.TypeMethodReply: "method_return", dbus.TypeError: "error", dbus.TypeSignal: "signal",
	}[r.kind])
	add("sender", r.sender)
	add("interface", r.iface)
	add("member", r.member)
	add("path", r.path)
	add("path_namespace", r.pathNamespace)
	add("destination", r.destination)
	if r.eavesdrop {
		add("eavesdrop", "true")
	}
	for _, a := range r.args {
		key := fmt.Sprintf("arg%d%s", a.index, [...]string{"", "path", "namespace"}[a.kind])
		out = append(out, key+"='"+strings.ReplaceAll(a.value, "'", `'\''`)+"'")
	}
	return strings.Join(out, ",")
}

// FuzzMatchRule checks that a rule printed and parsed is the same rule.
func FuzzMatchRule(f *testing.F) {
	f.Add("type='signal',sender='sssd.kcm',path_namespace='/org',arg0='x',arg2path='/a/',arg0namespace='com'")
	f.Add(`interface=a.b,member='x'\''y',destination=:1.4,path=/`)
	f.Add("eavesdrop=true,type=error")
	f.Add("arg0=0,arg0000=")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRule(text)
		if err != nil {
			return
		}
		printed := r.print()
		if len(printed) > maxRule {
			return
		}
		again, err := parseRule(printed)
		if err != nil {
			t.Fatalf("%q is refused: %v", printed, err)
		}
		if !r.equal(again) {
			t.Errorf("%q is not %q", printed, text)
		}
	})
}
