package sbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/godbus/dbus/v5"
)

const (
	// maxFrame bounds one message. The D-Bus Specification allows 128 MiB; the
	// longest thing said here is a list of a few services.
	maxFrame = 1 << 20
	// fixedHeader is the part of a message that tells its length: byte order,
	// type, flags, version, body length, serial, length of the header fields.
	fixedHeader = 16
	// readStep bounds what is allocated for bytes that are only announced.
	readStep = 16 << 10

	protocolVersion = 1
)

var errFrame = errors.New("invalid message")

// frame is a message: its header taken apart, its body as it came. The body
// travels on unchanged, because to decode and encode it again would turn structs
// into arrays of variants. It is decoded only where its signature is wanted:
// godbus needs seconds for a MiB of deeply nested structs.
type frame struct {
	headers
	kind   dbus.Type
	flags  dbus.Flags
	serial uint32
	order  binary.ByteOrder
	raw    []byte
	body   []byte // the end of raw
}

// byteOrder is the byte order a message is marshalled in; nil if its first byte
// names none.
func byteOrder(raw []byte) binary.ByteOrder {
	switch raw[0] {
	case 'l':
		return binary.LittleEndian
	case 'B':
		return binary.BigEndian
	}
	return nil
}

// frameSize returns the length of the message that begins with head. It is
// computed in 64 bits, where the lengths a peer announces cannot wrap.
func frameSize(head [fixedHeader]byte) (int, error) {
	order := byteOrder(head[:])
	if order == nil {
		return 0, fmt.Errorf("%w: byte order %q", errFrame, head[0])
	}
	if head[3] != protocolVersion {
		return 0, fmt.Errorf("%w: protocol version %d", errFrame, head[3])
	}
	fields := uint64(order.Uint32(head[12:]))
	size := fixedHeader + (fields+7)&^7 + uint64(order.Uint32(head[4:]))
	if size > maxFrame {
		return 0, fmt.Errorf("%w: %d bytes announced, %d allowed", errFrame, size, maxFrame)
	}
	return int(size), nil
}

// readFrame reads the bytes of one message. Memory grows with what arrives, not
// with what is announced.
func readFrame(r io.Reader) ([]byte, error) {
	var head [fixedHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size, err := frameSize(head)
	if err != nil {
		return nil, err
	}
	raw := append(make([]byte, 0, min(size, readStep)), head[:]...)
	for len(raw) < size {
		have, n := len(raw), min(size-len(raw), readStep)
		raw = slices.Grow(raw, n)[:have+n]
		if _, err := io.ReadFull(r, raw[have:]); err != nil {
			return nil, fmt.Errorf("%w: cut off", errFrame)
		}
	}
	return raw, nil
}

// parseFrame checks the bytes of one message and takes its header apart.
func parseFrame(raw []byte) (*frame, error) {
	const knownFlags = dbus.FlagNoReplyExpected | dbus.FlagNoAutoStart | dbus.FlagAllowInteractiveAuthorization
	fields, err := checkMessage(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	order := byteOrder(raw)
	f := &frame{
		headers: fields,
		kind:    dbus.Type(raw[1]),
		flags:   dbus.Flags(raw[2]) & knownFlags, // others are to be ignored
		serial:  order.Uint32(raw[8:]),
		order:   order,
		raw:     raw,
		body:    raw[len(raw)-int(order.Uint32(raw[4:])):],
	}
	if f.serial == 0 {
		return nil, fmt.Errorf("%w: serial 0", errFrame)
	}
	return f, nil
}

// wantsReply reports whether a message is a call that is to be answered.
func (f *frame) wantsReply() bool {
	return f.kind == dbus.TypeMethodCall && f.flags&dbus.FlagNoReplyExpected == 0
}

// isReply reports whether a message answers a call.
func (f *frame) isReply() bool {
	return f.kind == dbus.TypeMethodReply || f.kind == dbus.TypeError
}

// args decodes the body. Structs become []any.
func (f *frame) args() ([]any, error) {
	msg, err := dbus.DecodeMessage(bytes.NewReader(f.raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errFrame, err)
	}
	return msg.Body, nil
}

// plainArgs returns the strings and paths among the arguments; others are nil.
func (f *frame) plainArgs() []any {
	c := &checker{data: f.raw, pos: len(f.raw) - len(f.body), order: f.order}
	var args []any
	for sig := f.signature(); sig != ""; {
		n, err := completeType(sig, 0, 0)
		if err != nil {
			break // does not come, the message has been checked
		}
		arg, err := c.plain(sig[:n])
		if err != nil {
			break
		}
		args, sig = append(args, arg), sig[n:]
	}
	return args
}

// setSender sets the sender of a message, which a peer cannot be trusted to do
// itself, and brings its bytes up to date. Without a sender, none is named.
// Header fields of the wrong kind are an error.
func (f *frame) setSender(sender string) error {
	delete(f.headers, dbus.FieldSender)
	if sender != "" {
		f.headers[dbus.FieldSender] = dbus.MakeVariant(sender)
	}
	header := dbus.Message{Type: f.kind, Flags: f.flags, Headers: f.headers}
	var buf bytes.Buffer
	if err := header.EncodeTo(&buf, f.order); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	buf.Write(f.body)
	if buf.Len() > maxFrame {
		return fmt.Errorf("%w: too long with its sender", errFrame)
	}
	f.raw, f.body = buf.Bytes(), buf.Bytes()[buf.Len()-len(f.body):]
	f.order.PutUint32(f.raw[4:], uint32(len(f.body)))
	f.order.PutUint32(f.raw[8:], f.serial)
	return nil
}
