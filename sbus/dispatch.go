package sbus

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
	"github.com/hashicorp/go-hclog"
)

// tree holds the objects of one end of a connection by path, with a node for
// every path above them so that tools can find their way down from "/".
type tree struct {
	nodes map[dbus.ObjectPath]*node
	log   hclog.Logger
}

type node struct {
	interfaces []Interface
	children   []string // names of the paths directly below
}

func newTree(objects []Object, log hclog.Logger) *tree {
	t := &tree{nodes: make(map[dbus.ObjectPath]*node), log: log}
	t.at("/")
	for _, object := range objects {
		n := t.at(object.Path)
		n.interfaces = append(n.interfaces, object.Interfaces...)
	}
	for _, n := range t.nodes {
		n.interfaces = append(n.interfaces, n.standardInterfaces()...)
	}
	return t
}

// at returns the node of a path, making it and those above it where needed.
func (t *tree) at(path dbus.ObjectPath) *node {
	if n := t.nodes[path]; n != nil {
		return n
	}
	n := new(node)
	t.nodes[path] = n
	if path == "/" {
		return n
	}
	slash := strings.LastIndexByte(string(path), '/')
	parent := t.at(max(path[:slash], "/"))
	parent.children = append(parent.children, string(path[slash+1:]))
	return n
}

// call finds the method a message asks for and runs it.
func (t *tree) call(ctx context.Context, caller Caller, f *frame) (results []any, err error) {
	method, err := t.find(f)
	if err != nil {
		return nil, err
	}
	name := method.Name
	if want, got := typesOf(method.In), f.signature(); want != got {
		return nil, Errorf(ErrorInvalidArgs, "%s takes %q, not %q", name, want, got)
	}
	if method.Call == nil {
		return nil, Errorf(ErrorNotSupported, "%s has no meaning here", name)
	}
	defer func() {
		if r := recover(); r != nil {
			t.log.Error("D-Bus handler failed", "method", name, "panic", r, "stack", string(debug.Stack()))
			results, err = nil, Errorf(ErrorFailed, "%s failed unexpectedly; the log of the service says where", name)
		}
	}()
	args, err := f.args()
	if err != nil {
		return nil, Errorf(ErrorInvalidArgs, "%v", err)
	}
	if results, err = method.Call(ctx, caller, args); err != nil {
		return nil, err
	}
	sig, err := signatureOf(results)
	if want := typesOf(method.Out); err != nil || want != sig.String() {
		return nil, fmt.Errorf("%s returned %q instead of %q", name, sig, want)
	}
	return results, nil
}

// find looks a method up. Without an interface the first method of that name is
// meant. Peer is a property of connections and answered on every path.
func (t *tree) find(f *frame) (Method, error) {
	path := dbus.ObjectPath(f.text(dbus.FieldPath))
	iface, member := f.text(dbus.FieldInterface), f.text(dbus.FieldMember)
	n := t.nodes[path]
	if n == nil && iface == PeerInterface {
		n = t.nodes["/"]
	}
	if n == nil {
		return Method{}, Errorf(ErrorUnknownObject, "no object at %s", path)
	}
	found := false
	for _, in := range n.interfaces {
		if iface != "" && iface != in.Name {
			continue
		}
		found = true
		if i := slices.IndexFunc(in.Methods, func(m Method) bool { return m.Name == member }); i >= 0 {
			return in.Methods[i], nil
		}
	}
	if !found {
		return Method{}, Errorf(ErrorUnknownInterface, "no interface %s at %s", iface, path)
	}
	return Method{}, Errorf(ErrorUnknownMethod, "no method %s at %s", strings.TrimPrefix(iface+"."+member, "."), path)
}
