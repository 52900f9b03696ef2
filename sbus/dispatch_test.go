package sbus

import (
	"context"
	"encoding/xml"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/hashicorp/go-hclog"
)

// testObject has a method for every way a handler can end.
func testObject() Object {
	value := uint32(5)
	return Object{Path: "/org/example/thing", Interfaces: []Interface{{
		Name: "org.example.Thing",
		Methods: []Method{
			{Name: "Echo", In: []Arg{{"text", "s"}, {"numbers", "au"}}, Out: []Arg{{"text", "s"}, {"numbers", "au"}},
				Call: func(_ context.Context, _ Caller, args []any) ([]any, error) { return args, nil }},
			{Name: "Panic", Call: func(context.Context, Caller, []any) ([]any, error) { panic("oh") }},
			{Name: "Fail", Call: action(func(context.Context) error { return errors.New("disk is full") })},
			{Name: "Deny", Call: action(func(context.Context) error { return Errorf(ErrorAccessDenied, "no") })},
			{Name: "Lie", Out: []Arg{{"number", "u"}}, Call: constant("text")},
			{Name: "Nothing"},
		},
		Properties: []Property{
			{Name: "Value", Signature: "u", Get: func() any { return value }, Set: func(v any) error {
				if v == uint32(13) {
					return Errorf(ErrorInvalidArgs, "13 is unlucky")
				}
				value = v.(uint32)
				return nil
			}},
			{Name: "Fixed", Signature: "s", Get: func() any { return "f" }},
		},
		Signals: []Signal{{Name: "Happened", Args: []Arg{{"what", "s"}}}},
	}}}
}

func callTree(t *testing.T, tree *tree, path dbus.ObjectPath, iface, member string, args ...any) ([]any, error) {
	t.Helper()
	f, err := newCall(1, address{path: path, iface: iface, member: member}, args)
	if err != nil {
		t.Fatal(err)
	}
	return tree.call(t.Context(), Caller{}, f)
}

func TestDispatch(t *testing.T) {
	const path, thing, properties = "/org/example/thing", "org.example.Thing", PropertiesInterface
	tests := map[string]struct {
		path    dbus.ObjectPath // default: path
		iface   string
		method  string
		args    []any
		results []any
		fails   string
	}{
		"arguments and results pass":              {iface: thing, method: "Echo", args: []any{"x", []uint32{1, 2}}, results: []any{"x", []uint32{1, 2}}},
		"the interface may be left out":           {method: "Echo", args: []any{"x", []uint32{}}, results: []any{"x", []uint32{}}},
		"no object is at the path":                {path: "/org/nowhere", iface: thing, method: "Echo", fails: ErrorUnknownObject},
		"the interface is unknown":                {iface: "org.example.Other", method: "Echo", fails: ErrorUnknownInterface},
		"the method is unknown":                   {iface: thing, method: "Shout", fails: ErrorUnknownMethod},
		"the method is unknown in any interface":  {method: "Shout", fails: ErrorUnknownMethod},
		"arguments are missing":                   {iface: thing, method: "Echo", args: []any{"x"}, fails: ErrorInvalidArgs},
		"arguments are of another type":           {iface: thing, method: "Echo", args: []any{"x", []int32{1}}, fails: ErrorInvalidArgs},
		"there are arguments too many":            {iface: thing, method: "Fail", args: []any{"x"}, fails: ErrorInvalidArgs},
		"a panic is an error reply":               {iface: thing, method: "Panic", fails: ErrorFailed},
		"an error has the general name":           {iface: thing, method: "Fail", fails: ErrorFailed},
		"an error may choose its name":            {iface: thing, method: "Deny", fails: ErrorAccessDenied},
		"a method without handler is unsupported": {iface: thing, method: "Nothing", fails: ErrorNotSupported},
		"results must be as declared":             {iface: thing, method: "Lie", fails: "Lie returned \"s\" instead of \"u\""},
		"a property is read":                      {iface: properties, method: "Get", args: []any{thing, "Value"}, results: []any{dbus.MakeVariant(uint32(5))}},
		"a property is read without an interface": {iface: properties, method: "Get", args: []any{"", "Fixed"}, results: []any{dbus.MakeVariant("f")}},
		"a property is set":                       {iface: properties, method: "Set", args: []any{thing, "Value", dbus.MakeVariant(uint32(6))}},
		"a property of another type is not set":   {iface: properties, method: "Set", args: []any{thing, "Value", dbus.MakeVariant("6")}, fails: ErrorInvalidArgs},
		"a value that is refused is not set":      {iface: properties, method: "Set", args: []any{thing, "Value", dbus.MakeVariant(uint32(13))}, fails: ErrorInvalidArgs},
		"a read-only property is not set":         {iface: properties, method: "Set", args: []any{thing, "Fixed", dbus.MakeVariant("g")}, fails: ErrorPropertyReadOnly},
		"the property is unknown":                 {iface: properties, method: "Get", args: []any{thing, "Colour"}, fails: ErrorUnknownProperty},
		"the property's interface is unknown":     {iface: properties, method: "Get", args: []any{"org.example.Other", "Value"}, fails: ErrorUnknownInterface},
		"all properties of an interface": {iface: properties, method: "GetAll", args: []any{thing},
			results: []any{map[string]dbus.Variant{"Value": dbus.MakeVariant(uint32(5)), "Fixed": dbus.MakeVariant("f")}}},
		"an interface may have no properties": {iface: properties, method: "GetAll", args: []any{PeerInterface}, results: []any{map[string]dbus.Variant{}}},
		"a parent path answers pings":         {path: "/org", iface: PeerInterface, method: "Ping"},
		"a path without object answers pings": {path: "/nowhere", iface: PeerInterface, method: "Ping"},
		"a parent path has no properties":     {path: "/", iface: properties, method: "GetAll", args: []any{""}, results: []any{map[string]dbus.Variant{}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.path == "" {
				tc.path = path
			}
			results, err := callTree(t, newTree([]Object{testObject()}, hclog.NewNullLogger()), tc.path, tc.iface, tc.method, tc.args...)
			if got := errorName(err); got != tc.fails && (err == nil || replyError(err).Name != tc.fails) {
				t.Errorf("error is %v, want %q", err, tc.fails)
			}
			if err == nil && len(results)+len(tc.results) > 0 && !reflect.DeepEqual(results, tc.results) {
				t.Errorf("results are %v, want %v", results, tc.results)
			}
		})
	}
}

func TestMachineID(t *testing.T) {
	want, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		t.Skip("this machine has no id")
	}
	tree := newTree(nil, hclog.NewNullLogger())
	results, err := callTree(t, tree, "/", PeerInterface, "GetMachineId")
	if err != nil || results[0] != strings.TrimSpace(string(want)) {
		t.Errorf("id is %v, %v", results, err)
	}
}

func TestIntrospectionShowsWhatIsDeclared(t *testing.T) {
	tree := newTree([]Object{testObject(), {Path: "/org/example/other"}}, hclog.NewNullLogger())
	node := func(path dbus.ObjectPath) introspect.Node {
		t.Helper()
		results, err := callTree(t, tree, path, IntrospectableInterface, "Introspect")
		if err != nil {
			t.Fatal(err)
		}
		var n introspect.Node
		if err := xml.Unmarshal([]byte(results[0].(string)), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var children []string
	for _, c := range node("/org/example").Children {
		children = append(children, c.Name)
	}
	if !slices.Equal(children, []string{"other", "thing"}) {
		t.Errorf("children are %v", children)
	}
	thing := node("/org/example/thing")
	if len(thing.Interfaces) != 4 || !reflect.DeepEqual(thing.Interfaces[0], describe(testObject().Interfaces[0])) {
		t.Errorf("interfaces are %+v", thing.Interfaces)
	}
}

func TestAnAnswerThatCannotBeSentBecomesAnError(t *testing.T) {
	for name, r := range map[string]reply{
		"text that is not UTF-8":      {to: 1, results: []any{"\xff"}},
		"more than a message holds":   {to: 1, results: []any{strings.Repeat("x", maxFrame)}},
		"an error name that is none":  {to: 1, err: Errorf("no name", "x")},
		"a value D-Bus has no way of": {to: 1, results: []any{make(chan int)}},
	} {
		t.Run(name, func(t *testing.T) {
			if f := r.frame(1); f == nil || f.kind != dbus.TypeError || errorOf(f).Name != ErrorFailed {
				t.Errorf("answer is %v", f)
			}
		})
	}
}

func TestSignalsMustBeDeclared(t *testing.T) {
	objects := []Object{testObject()}
	tests := map[string]struct {
		member string
		args   []any
		fails  bool
	}{
		"as declared":            {member: "Happened", args: []any{"x"}},
		"with other arguments":   {member: "Happened", args: []any{1}, fails: true},
		"under another name":     {member: "Occurred", args: []any{"x"}, fails: true},
		"with values of no type": {member: "Happened", args: []any{make(chan int)}, fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := checkSignal(objects, "/org/example/thing", "org.example.Thing", tc.member, tc.args)
			if (err != nil) != tc.fails {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// Every signature and name of the contract is one D-Bus can carry.
func TestTheContractIsValid(t *testing.T) {
	s := NewServer(Options{})
	for _, object := range []Object{MonitorObject(Monitor{}), ServiceObject(Service{}), cacheSignals(), s.busObject()} {
		for _, in := range object.Interfaces {
			for _, m := range in.Methods {
				if err := errors.Join(checkSignature(typesOf(m.In)), checkSignature(typesOf(m.Out))); err != nil {
					t.Errorf("%s.%s: %v", in.Name, m.Name, err)
				}
			}
			for _, signal := range in.Signals {
				if _, err := newSignal(1, address{path: object.Path, iface: in.Name, member: signal.Name}, nil); err != nil {
					t.Errorf("%s.%s: %v", in.Name, signal.Name, err)
				}
			}
		}
	}
	if got := dbus.SignatureOf(ServiceStatus{}).String(); got != statusType {
		t.Errorf("ServiceStatus is %s, declared %s", got, statusType)
	}
}
