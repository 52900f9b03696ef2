package sbus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// address is what a call or a signal is about, and between whom; the names may
// be empty.
type address struct {
	sender, dest  string
	path          dbus.ObjectPath
	iface, member string
}

func newCall(serial uint32, a address, args []any) (*frame, error) {
	return compose(serial, dbus.TypeMethodCall, a.fields(), args)
}

// newSignal makes a signal. Its strings may come from outside (a principal is
// any bytes) and are made fit for D-Bus, so that no name can suppress a signal.
func newSignal(serial uint32, a address, args []any) (*frame, error) {
	args = slices.Clone(args)
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = wireText(s)
		}
	}
	return compose(serial, dbus.TypeSignal, a.fields(), args)
}

func (a address) fields() map[dbus.HeaderField]any {
	return map[dbus.HeaderField]any{
		dbus.FieldSender:      a.sender,
		dbus.FieldDestination: a.dest,
		dbus.FieldPath:        a.path,
		dbus.FieldInterface:   a.iface,
		dbus.FieldMember:      a.member,
	}
}

// reply is the answer to a call.
type reply struct {
	to           uint32 // serial of the call
	sender, dest string
	results      []any
	err          error // sent instead of the results
}

// frame returns the answer as a message. One that D-Bus cannot carry becomes an
// error that says so: who waits is always answered.
func (r reply) frame(serial uint32) *frame {
	f, err := r.compose(serial)
	if err != nil {
		r.err = Errorf(ErrorFailed, "the answer cannot be sent: %v", err)
		f, _ = r.compose(serial)
	}
	return f
}

func (r reply) compose(serial uint32) (*frame, error) {
	kind, body := dbus.TypeMethodReply, r.results
	fields := map[dbus.HeaderField]any{
		dbus.FieldReplySerial: r.to,
		dbus.FieldSender:      r.sender,
		dbus.FieldDestination: r.dest,
	}
	if r.err != nil {
		e := replyError(r.err)
		kind, body = dbus.TypeError, []any{wireText(e.Message)}
		fields[dbus.FieldErrorName] = e.Name
	}
	return compose(serial, kind, fields, body)
}

// compose makes a message of our own; fields that are empty are left out.
func compose(serial uint32, kind dbus.Type, fields map[dbus.HeaderField]any, args []any) (*frame, error) {
	sig, err := signatureOf(args)
	if err != nil {
		return nil, err
	}
	msg := dbus.Message{Type: kind, Headers: make(headers, len(fields)+1), Body: args}
	for field, value := range fields {
		if value != "" {
			msg.Headers[field] = dbus.MakeVariant(value)
		}
	}
	if len(args) > 0 {
		msg.Headers[dbus.FieldSignature] = dbus.MakeVariant(sig)
	}
	var buf bytes.Buffer
	if err := msg.EncodeTo(&buf, binary.LittleEndian); err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	raw := buf.Bytes()
	if len(raw) > maxFrame {
		return nil, fmt.Errorf("%w: %d bytes, %d allowed", errFrame, len(raw), maxFrame)
	}
	// godbus leaves serial 0, which is invalid, in what it has not sent itself.
	binary.LittleEndian.PutUint32(raw[8:], serial)
	body := raw[len(raw)-int(binary.LittleEndian.Uint32(raw[4:])):]
	return &frame{headers: msg.Headers, kind: kind, serial: serial, order: binary.LittleEndian, raw: raw, body: body}, nil
}

// wireText makes any text fit for D-Bus, which takes only UTF-8 without NUL.
func wireText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
