package sbus

import (
	"context"
	"encoding/xml"
	"os"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
)

// The interfaces every object has (D-Bus Specification, "Standard Interfaces").
const (
	PeerInterface           = "org.freedesktop.DBus.Peer"
	IntrospectableInterface = "org.freedesktop.DBus.Introspectable"
	PropertiesInterface     = "org.freedesktop.DBus.Properties"
)

func (n *node) standardInterfaces() []Interface {
	return []Interface{
		{Name: PeerInterface, Methods: []Method{
			{Name: "Ping", Call: constant()},
			{Name: "GetMachineId", Out: []Arg{{"machine_uuid", "s"}}, Call: machineID},
		}},
		{Name: IntrospectableInterface, Methods: []Method{
			{Name: "Introspect", Out: []Arg{{"xml_data", "s"}}, Call: n.introspect},
		}},
		{Name: PropertiesInterface, Methods: []Method{
			{Name: "Get", In: []Arg{{"interface_name", "s"}, {"property_name", "s"}}, Out: []Arg{{"value", "v"}}, Call: n.getProperty},
			{Name: "GetAll", In: []Arg{{"interface_name", "s"}}, Out: []Arg{{"props", "a{sv}"}}, Call: n.getProperties},
			{Name: "Set", In: []Arg{{"interface_name", "s"}, {"property_name", "s"}, {"value", "v"}}, Call: n.setProperty},
		}},
	}
}

func machineID(context.Context, Caller, []any) ([]any, error) {
	id, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return nil, Errorf(ErrorNotSupported, "this machine has no id: %v", err)
	}
	return []any{strings.TrimSpace(string(id))}, nil
}

func (n *node) getProperty(_ context.Context, _ Caller, args []any) ([]any, error) {
	p, err := n.property(args[0].(string), args[1].(string))
	if err != nil {
		return nil, err
	}
	return []any{p.value()}, nil
}

func (n *node) getProperties(_ context.Context, _ Caller, args []any) ([]any, error) {
	interfaces, err := n.named(args[0].(string))
	if err != nil {
		return nil, err
	}
	values := make(map[string]dbus.Variant)
	for _, in := range interfaces {
		for _, p := range in.Properties {
			values[p.Name] = p.value()
		}
	}
	return []any{values}, nil
}

func (n *node) setProperty(_ context.Context, _ Caller, args []any) ([]any, error) {
	p, err := n.property(args[0].(string), args[1].(string))
	if err != nil {
		return nil, err
	}
	value := args[2].(dbus.Variant)
	if p.Set == nil {
		return nil, Errorf(ErrorPropertyReadOnly, "property %s cannot be set", p.Name)
	}
	if got := value.Signature().String(); got != p.Signature {
		return nil, Errorf(ErrorInvalidArgs, "property %s is of type %q, not %q", p.Name, p.Signature, got)
	}
	return nil, p.Set(value.Value())
}

func (p Property) value() dbus.Variant { return dbus.MakeVariant(p.Get()) }

func (n *node) property(iface, name string) (Property, error) {
	interfaces, err := n.named(iface)
	if err != nil {
		return Property{}, err
	}
	for _, in := range interfaces {
		if i := slices.IndexFunc(in.Properties, func(p Property) bool { return p.Name == name }); i >= 0 {
			return in.Properties[i], nil
		}
	}
	return Property{}, Errorf(ErrorUnknownProperty, "no property %s in %q", name, iface)
}

// named returns the interfaces of that name; with "", every interface.
func (n *node) named(iface string) ([]Interface, error) {
	if iface == "" {
		return n.interfaces, nil
	}
	i := slices.IndexFunc(n.interfaces, func(in Interface) bool { return in.Name == iface })
	if i < 0 {
		return nil, Errorf(ErrorUnknownInterface, "no interface %s", iface)
	}
	return n.interfaces[i : i+1], nil
}

func (n *node) introspect(context.Context, Caller, []any) ([]any, error) {
	var out introspect.Node
	for _, in := range n.interfaces {
		out.Interfaces = append(out.Interfaces, describe(in))
	}
	for _, child := range slices.Sorted(slices.Values(n.children)) {
		out.Children = append(out.Children, introspect.Node{Name: child})
	}
	text, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, err
	}
	return []any{strings.TrimSpace(introspect.IntrospectDeclarationString) + "\n" + string(text) + "\n"}, nil
}

// describe puts an interface into the words of the introspection format. No
// property announces its changes; the format's default would be that all do.
func describe(in Interface) introspect.Interface {
	out := introspect.Interface{Name: in.Name}
	for _, m := range in.Methods {
		args := append(describeArgs(m.In, "in"), describeArgs(m.Out, "out")...)
		out.Methods = append(out.Methods, introspect.Method{Name: m.Name, Args: args})
	}
	for _, s := range in.Signals {
		out.Signals = append(out.Signals, introspect.Signal{Name: s.Name, Args: describeArgs(s.Args, "")})
	}
	for _, p := range in.Properties {
		access := "read"
		if p.Set != nil {
			access = "readwrite"
		}
		out.Properties = append(out.Properties, introspect.Property{
			Name: p.Name, Type: p.Signature, Access: access,
			Annotations: []introspect.Annotation{{Name: "org.freedesktop.DBus.Property.EmitsChangedSignal", Value: "false"}},
		})
	}
	return out
}

func describeArgs(args []Arg, direction string) []introspect.Arg {
	var out []introspect.Arg
	for _, arg := range args {
		out = append(out, introspect.Arg{Name: arg.Name, Type: arg.Type, Direction: direction})
	}
	return out
}
