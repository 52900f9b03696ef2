package sbus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Limits of a type signature (D-Bus Specification, "Valid Signatures").
const (
	maxSignature = 255
	maxNesting   = 32 // of arrays, and of structs
)

const basicTypes = "ybnqiuxtdsog"

var errSignature = errors.New("invalid signature")

// completeType returns the length of the single complete type sig begins with.
// File descriptors ("h") are no type here, since none can be passed, nor is an
// empty struct, which is invalid and takes no bytes: an array of them has no end.
func completeType(sig string, arrays, structs int) (int, error) {
	if sig == "" || arrays > maxNesting || structs > maxNesting {
		return 0, errSignature
	}
	switch {
	case sig[0] == 'v', isBasic(sig[0]):
		return 1, nil
	case strings.HasPrefix(sig, "a{"):
		n, err := dictEntry(sig[1:], arrays+1, structs+1)
		return n + 1, err
	case sig[0] == 'a':
		n, err := completeType(sig[1:], arrays+1, structs)
		return n + 1, err
	case sig[0] == '(':
		return structType(sig, arrays, structs+1)
	}
	return 0, errSignature
}

func isBasic(code byte) bool { return strings.IndexByte(basicTypes, code) >= 0 }

func dictEntry(sig string, arrays, structs int) (int, error) {
	if len(sig) < 4 || !isBasic(sig[1]) {
		return 0, errSignature
	}
	n, err := completeType(sig[2:], arrays, structs)
	if err != nil || 2+n >= len(sig) || sig[2+n] != '}' {
		return 0, errSignature
	}
	return n + 3, nil
}

func structType(sig string, arrays, structs int) (int, error) {
	n := 1
	for n < len(sig) && sig[n] != ')' {
		m, err := completeType(sig[n:], arrays, structs)
		if err != nil {
			return 0, err
		}
		n += m
	}
	if n == 1 || n == len(sig) {
		return 0, errSignature
	}
	return n + 1, nil
}

// checkSignature reports whether sig is a sequence of complete types.
func checkSignature(sig string) error {
	if len(sig) > maxSignature {
		return errSignature
	}
	for sig != "" {
		n, err := completeType(sig, 0, 0)
		if err != nil {
			return err
		}
		sig = sig[n:]
	}
	return nil
}

// signatureOf returns the signature of Go values, or an error if D-Bus cannot
// express one of them.
func signatureOf(values []any) (sig dbus.Signature, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("values without a D-Bus type: %v", r)
		}
	}()
	return dbus.SignatureOf(values...), nil
}
