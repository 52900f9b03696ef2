package sbus

import (
	"fmt"

	"github.com/godbus/dbus/v5"
)

// headers are the header fields of a message.
type headers map[dbus.HeaderField]dbus.Variant

// checkMessage checks a whole frame against the marshalling rules and returns
// its header fields.
func checkMessage(raw []byte) (headers, error) {
	c := &checker{data: raw, pos: fixedHeader - 4, order: byteOrder(raw)}
	fields, err := c.headerFields()
	if err == nil {
		err = c.align(8)
	}
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	sig := fields.signature()
	if err := c.sequence(sig, 0); err != nil {
		return nil, fmt.Errorf("body of %q: %w", sig, err)
	}
	if c.pos != len(raw) {
		return nil, fmt.Errorf("body of %q: %d bytes too many", sig, len(raw)-c.pos)
	}
	return fields, nil
}

// headerFields takes the header fields, an a(yv).
func (c *checker) headerFields() (headers, error) {
	end, err := c.arrayEnd(8)
	if err != nil {
		return nil, err
	}
	fields := make(headers)
	for c.pos < end {
		if err := c.headerField(fields); err != nil {
			return nil, err
		}
	}
	if c.pos != end {
		return nil, errTruncated
	}
	return fields, nil
}

// headerField takes one field. Those the specification does not know are to be
// ignored. What type each must have is godbus' to check, when it encodes them.
func (c *checker) headerField(fields headers) error {
	if err := c.align(8); err != nil {
		return err
	}
	code, err := c.take(1)
	if err != nil {
		return err
	}
	sig, err := c.variantType()
	if err != nil {
		return err
	}
	value, err := c.plain(sig)
	if err != nil {
		return err
	}
	field := dbus.HeaderField(code[0])
	if field > dbus.FieldUnixFDs {
		return nil
	}
	if value == nil {
		return fmt.Errorf("field %d of type %q", field, sig)
	}
	fields[field] = dbus.MakeVariant(value)
	return nil
}

// plain takes a value, and returns it if it is of one of the types of header
// fields; others are nil.
func (c *checker) plain(sig string) (any, error) {
	switch sig {
	case "s":
		b, err := c.text(false)
		return string(b), err
	case "o":
		b, err := c.text(true)
		return dbus.ObjectPath(b), err
	case "g":
		inner, err := c.signature()
		if err != nil {
			return nil, err
		}
		return dbus.ParseSignature(inner)
	case "u":
		return c.uint32()
	}
	return nil, c.value(sig, 1)
}

// text is a field that holds a text: names and paths.
func (h headers) text(field dbus.HeaderField) string {
	switch v := h[field].Value().(type) {
	case string:
		return v
	case dbus.ObjectPath:
		return string(v)
	}
	return ""
}

// signature is the signature of the body.
func (h headers) signature() string {
	sig, _ := h[dbus.FieldSignature].Value().(dbus.Signature)
	return sig.String()
}

// replySerial is the serial of the call a reply answers.
func (h headers) replySerial() uint32 {
	serial, _ := h[dbus.FieldReplySerial].Value().(uint32)
	return serial
}
