package sbus

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"
)

// maxDepth bounds the nesting of values, variants included (D-Bus
// Specification, "Valid Signatures" and "Marshaling (Wire Format)").
const maxDepth = 64

var errTruncated = errors.New("value reaches beyond the message")

// checker walks the marshalled values of a message and reports the first that
// breaks the D-Bus Specification. Every message is walked before it is decoded
// or passed on. Passing on a malformed one would let a peer end the connections
// of others, for libdbus ends a connection on which one arrives; and godbus
// decodes an array of empty structs, which take no bytes, without end.
type checker struct {
	data  []byte // the whole message: alignment counts from its start
	pos   int
	order binary.ByteOrder
}

// sequence walks one value after the other, as in a body or a struct.
func (c *checker) sequence(sig string, depth int) error {
	for sig != "" {
		n, err := completeType(sig, 0, 0)
		if err != nil {
			return err
		}
		if err := c.value(sig[:n], depth); err != nil {
			return err
		}
		sig = sig[n:]
	}
	return nil
}

// value walks one value of a single complete type, or of a dict entry.
func (c *checker) value(sig string, depth int) error {
	if depth > maxDepth {
		return errors.New("values are nested too deeply")
	}
	switch sig[0] {
	case 'y':
		return c.fixed(1)
	case 'n', 'q':
		return c.fixed(2)
	case 'i', 'u':
		return c.fixed(4)
	case 'x', 't', 'd':
		return c.fixed(8)
	case 'b':
		return c.boolean()
	case 's', 'o':
		_, err := c.text(sig[0] == 'o')
		return err
	case 'g':
		_, err := c.signature()
		return err
	case 'v':
		inner, err := c.variantType()
		if err != nil {
			return err
		}
		return c.value(inner, depth+1)
	case 'a':
		return c.array(sig[1:], depth+1)
	default: // a struct or a dict entry
		if err := c.align(8); err != nil {
			return err
		}
		return c.sequence(sig[1:len(sig)-1], depth+1)
	}
}

func (c *checker) array(element string, depth int) error {
	end, err := c.arrayEnd(alignmentOf(element[0]))
	if err != nil {
		return err
	}
	if element == "y" { // bulk data
		c.pos = end
		return nil
	}
	for c.pos < end {
		if err := c.value(element, depth); err != nil {
			return err
		}
	}
	if c.pos != end {
		return errTruncated
	}
	return nil
}

// arrayEnd takes the length of an array and the padding before its first
// element, and returns where the array ends.
func (c *checker) arrayEnd(alignment int) (int, error) {
	length, err := c.uint32()
	if err != nil {
		return 0, err
	}
	if err := c.align(alignment); err != nil {
		return 0, err
	}
	if uint64(length) > uint64(len(c.data)-c.pos) {
		return 0, errTruncated
	}
	return c.pos + int(length), nil
}

func alignmentOf(code byte) int {
	switch code {
	case 'n', 'q':
		return 2
	case 'b', 'i', 'u', 's', 'o', 'a':
		return 4
	case 'x', 't', 'd', '(', '{':
		return 8
	}
	return 1
}

func (c *checker) boolean() error {
	v, err := c.uint32()
	if err == nil && v > 1 {
		err = errors.New("boolean is neither 0 nor 1")
	}
	return err
}

// text takes a string, or a path.
func (c *checker) text(path bool) ([]byte, error) {
	length, err := c.uint32()
	if err != nil {
		return nil, err
	}
	b, err := c.terminated(length)
	switch {
	case err != nil:
		return nil, err
	case !utf8.Valid(b):
		return nil, errors.New("string is not UTF-8")
	case path && !dbus.ObjectPath(b).IsValid():
		return nil, errors.New("invalid object path")
	}
	return b, nil
}

func (c *checker) signature() (string, error) {
	length, err := c.take(1)
	if err != nil {
		return "", err
	}
	b, err := c.terminated(uint32(length[0]))
	if err != nil {
		return "", err
	}
	return string(b), checkSignature(string(b))
}

// variantType takes the signature in front of a variant's value.
func (c *checker) variantType() (string, error) {
	sig, err := c.signature()
	if err != nil {
		return "", err
	}
	if n, err := completeType(sig, 0, 0); err != nil || n != len(sig) {
		return "", errSignature
	}
	return sig, nil
}

// terminated takes length bytes without a NUL and the NUL that follows.
func (c *checker) terminated(length uint32) ([]byte, error) {
	if uint64(length) >= uint64(len(c.data)-c.pos) {
		return nil, errTruncated
	}
	b, _ := c.take(int(length) + 1)
	if bytes.IndexByte(b, 0) != int(length) {
		return nil, errors.New("NUL is not where the string ends")
	}
	return b[:length], nil
}

func (c *checker) uint32() (uint32, error) {
	if err := c.align(4); err != nil {
		return 0, err
	}
	b, err := c.take(4)
	if err != nil {
		return 0, err
	}
	return c.order.Uint32(b), nil
}

func (c *checker) fixed(size int) error {
	if err := c.align(size); err != nil {
		return err
	}
	_, err := c.take(size)
	return err
}

// align passes padding, which must be zero.
func (c *checker) align(n int) error {
	pad, err := c.take(-c.pos & (n - 1))
	if err != nil {
		return err
	}
	for _, b := range pad {
		if b != 0 {
			return errors.New("padding is not zero")
		}
	}
	return nil
}

func (c *checker) take(n int) ([]byte, error) {
	if n > len(c.data)-c.pos {
		return nil, errTruncated
	}
	b := c.data[c.pos : c.pos+n]
	c.pos += n
	return b, nil
}
