package sbus

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

const testGUID = "0123456789abcdef0123456789abcdef"

func TestHandshake(t *testing.T) {
	const rejected, ok = "REJECTED EXTERNAL\r\n", "OK " + testGUID + "\r\n"
	tests := map[string]struct {
		input  string // after the NUL byte; the client has user id 1000
		output string
		fails  bool
		left   string // what follows the handshake
	}{
		"libdbus names its user": {
			input: "AUTH EXTERNAL 31303030\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n", output: ok + "ERROR no file descriptors\r\n",
		},
		"sd-bus sends everything in one write": {
			input: "AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\nl\x01", output: "DATA\r\n" + ok + "ERROR no file descriptors\r\n", left: "l\x01",
		},
		"gdbus and godbus ask for the mechanisms first": {
			input: "AUTH\r\nAUTH EXTERNAL 31303030\r\nBEGIN\r\n", output: rejected + ok,
		},
		"an empty identity is the kernel's": {
			input: "AUTH EXTERNAL \r\nBEGIN\r\n", output: ok,
		},
		"an identity may follow as data": {
			input: "AUTH EXTERNAL\r\nDATA 31303030\r\nBEGIN\r\n", output: "DATA\r\n" + ok,
		},
		"another user's id is rejected": {
			input: "AUTH EXTERNAL 30\r\nBEGIN\r\n", output: rejected, fails: true,
		},
		"an id that is no hexadecimal is rejected": {
			input: "AUTH EXTERNAL root\r\n", output: rejected, fails: true,
		},
		"other mechanisms are rejected": {
			input: "AUTH ANONYMOUS\r\nAUTH DBUS_COOKIE_SHA1 31303030\r\n", output: rejected + rejected, fails: true,
		},
		"a client may try again after a rejection": {
			input: "AUTH EXTERNAL 30\r\nAUTH EXTERNAL 31303030\r\nBEGIN\r\n", output: rejected + ok,
		},
		"a client may cancel": {
			input: "AUTH EXTERNAL\r\nCANCEL\r\nAUTH EXTERNAL 31303030\r\nBEGIN\r\n", output: "DATA\r\n" + rejected + ok,
		},
		"BEGIN before OK ends the connection":    {input: "BEGIN\r\n", fails: true},
		"an unknown command is an error":         {input: "HELO\r\n", output: "ERROR unexpected command\r\n", fails: true},
		"a line has an end":                      {input: strings.Repeat("x", 1000), fails: true},
		"a lone LF ends no line":                 {input: "AUTH\n", fails: true},
		"a handshake does not go on for ever":    {input: strings.Repeat("AUTH\r\n", 100), output: strings.Repeat(rejected, maxAuthLines), fails: true, left: strings.Repeat("AUTH\r\n", 100-maxAuthLines)},
		"a client that hangs up has not arrived": {input: "AUTH EXTERNAL 31303030\r\n", output: ok, fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in := bufio.NewReader(strings.NewReader("\x00" + tc.input))
			var out bytes.Buffer
			err := acceptAuth(in, &out, 1000, testGUID)
			if (err != nil) != tc.fails {
				t.Errorf("error is %v", err)
			}
			if out.String() != tc.output {
				t.Errorf("answers are %q, want %q", out.String(), tc.output)
			}
			if left, _ := io.ReadAll(in); tc.left != "" && string(left) != tc.left {
				t.Errorf("left is %q, want %q", left, tc.left)
			}
		})
	}
}

func TestHandshakeBeginsWithNUL(t *testing.T) {
	if err := acceptAuth(bufio.NewReader(strings.NewReader("AUTH EXTERNAL\r\n")), io.Discard, 0, testGUID); err == nil {
		t.Error("accepted without")
	}
}

func TestBothEndsOfTheHandshakeAgree(t *testing.T) {
	tests := map[string]struct {
		answer string
		fails  bool
	}{
		"OK lets the client begin":     {answer: "OK " + testGUID + "\r\n"},
		"a rejection is an error":      {answer: "REJECTED EXTERNAL\r\n", fails: true},
		"a server that says nothing":   {fails: true},
		"a server that never ends":     {answer: strings.Repeat("OK", 500), fails: true},
		"a server that speaks nothing": {answer: "\r\n", fails: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			sent := *bytes.NewBuffer([]byte{0}) // which lend sends
			err := offerAuth(bufio.NewReader(strings.NewReader(tc.answer)), &sent, 1000)
			if (err != nil) != tc.fails {
				t.Fatalf("error is %v", err)
			}
			if tc.fails {
				return
			}
			if err := acceptAuth(bufio.NewReader(&sent), io.Discard, 1000, testGUID); err != nil {
				t.Errorf("our server refuses our client: %v", err)
			}
		})
	}
}

// FuzzHandshake checks that nobody gets in who did not say BEGIN after an OK,
// and that the handshake always ends.
func FuzzHandshake(f *testing.F) {
	f.Add([]byte("\x00AUTH EXTERNAL 31303030\r\nBEGIN\r\n"))
	f.Add([]byte("\x00AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"))
	f.Add([]byte("\x00AUTH\r\nAUTH EXTERNAL 30\r\nCANCEL\r\nERROR\r\nBEGIN\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReader(bytes.NewReader(data))
		var out bytes.Buffer
		if err := acceptAuth(in, &out, 1000, testGUID); err != nil {
			return
		}
		left, _ := io.ReadAll(in)
		said := data[:len(data)-len(left)]
		if !bytes.HasSuffix(said, []byte("\r\n")) || !bytes.Contains(said, []byte("\r\nBEGIN")) || !bytes.Contains(out.Bytes(), []byte("OK ")) {
			t.Errorf("let in after %q, %q", said, out.Bytes())
		}
		if bytes.Count(out.Bytes(), []byte("\r\n")) > maxAuthLines {
			t.Errorf("%d answers", bytes.Count(out.Bytes(), []byte("\r\n")))
		}
	})
}
