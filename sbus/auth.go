package sbus

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of a handshake. Clients need four lines; the longest legitimate one
// carries a user id in hexadecimal.
const (
	maxAuthLines = 32
	maxAuthLine  = 512
)

var errAuth = errors.New("authentication failed")

// authState is a state of the server's side of SASL (D-Bus Specification,
// "Authentication state diagrams").
type authState int

const (
	waitingForAuth authState = iota
	waitingForData
	waitingForBegin
	authenticated
)

// authenticator answers the lines of a client. The client is who the kernel
// says it is; a user id it names must agree.
type authenticator struct {
	uid   uint32
	guid  string // of the server, 32 hexadecimal digits
	state authState
}

// acceptAuth runs the server's side of the handshake. Clients send several
// lines, and the first messages, in one write: what follows the handshake stays
// in r.
func acceptAuth(r *bufio.Reader, w io.Writer, uid uint32, guid string) error {
	first, err := r.ReadByte()
	if err != nil {
		return fmt.Errorf("%w: %w", errAuth, err)
	}
	if first != 0 {
		return fmt.Errorf("%w: no NUL byte first", errAuth)
	}
	a := &authenticator{uid: uid, guid: guid}
	for range maxAuthLines {
		line, err := readAuthLine(r)
		if err != nil {
			return err
		}
		answer, err := a.answer(line)
		if err != nil {
			return err
		}
		if a.state == authenticated {
			return nil
		}
		if _, err := io.WriteString(w, answer+"\r\n"); err != nil {
			return fmt.Errorf("%w: %w", errAuth, err)
		}
	}
	return fmt.Errorf("%w: more than %d lines", errAuth, maxAuthLines)
}

// readAuthLine reads one line. Its end is CR LF; a lone LF is not a line end.
func readAuthLine(r *bufio.Reader) (string, error) {
	var line []byte
	for len(line) < maxAuthLine {
		b, err := r.ReadByte()
		if err != nil {
			return "", fmt.Errorf("%w: %w", errAuth, err)
		}
		if line = append(line, b); strings.HasSuffix(string(line), "\r\n") {
			return string(line[:len(line)-2]), nil
		}
	}
	return "", fmt.Errorf("%w: line is longer than %d bytes", errAuth, maxAuthLine)
}

// answer takes one line of the client and returns the answer.
func (a *authenticator) answer(line string) (string, error) {
	command, argument, _ := strings.Cut(line, " ")
	switch {
	case command == "BEGIN" && a.state == waitingForBegin:
		a.state = authenticated
		return "", nil
	case command == "BEGIN":
		return "", fmt.Errorf("%w: BEGIN before OK", errAuth)
	case command == "AUTH" && a.state == waitingForAuth:
		return a.auth(argument), nil
	case command == "DATA" && a.state == waitingForData:
		return a.identity(argument), nil
	case command == "CANCEL" && a.state != waitingForAuth, command == "ERROR":
		return a.rejected(), nil
	case command == "NEGOTIATE_UNIX_FD" && a.state == waitingForBegin:
		return "ERROR no file descriptors", nil
	}
	return "ERROR unexpected command", nil
}

// auth takes the argument of AUTH: nothing (to ask for the mechanisms), or a
// mechanism with or without an identity.
func (a *authenticator) auth(argument string) string {
	mechanism, identity, given := strings.Cut(argument, " ")
	if mechanism != "EXTERNAL" {
		return a.rejected()
	}
	if !given {
		a.state = waitingForData
		return "DATA"
	}
	return a.identity(identity)
}

// identity takes the user id in decimal digits, hex encoded; nothing leaves it
// to the kernel.
func (a *authenticator) identity(encoded string) string {
	claim, err := hex.DecodeString(encoded)
	if err != nil || len(claim) > 0 && string(claim) != strconv.FormatUint(uint64(a.uid), 10) {
		return a.rejected()
	}
	a.state = waitingForBegin
	return "OK " + a.guid
}

func (a *authenticator) rejected() string {
	a.state = waitingForAuth
	return "REJECTED EXTERNAL"
}

// offerAuth runs the client's side of the handshake, behind its NUL byte.
func offerAuth(r *bufio.Reader, w io.Writer, uid uint32) error {
	claim := hex.EncodeToString(strconv.AppendUint(nil, uint64(uid), 10))
	if _, err := io.WriteString(w, "AUTH EXTERNAL "+claim+"\r\n"); err != nil {
		return fmt.Errorf("%w: %w", errAuth, err)
	}
	line, err := readAuthLine(r)
	if err != nil {
		return err
	}
	if command, _, _ := strings.Cut(line, " "); command != "OK" {
		return fmt.Errorf("%w: server says %q", errAuth, line)
	}
	if _, err := io.WriteString(w, "BEGIN\r\n"); err != nil {
		return fmt.Errorf("%w: %w", errAuth, err)
	}
	return nil
}
