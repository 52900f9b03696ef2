package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

const (
	// maxLine bounds a line of an answer's head, maxHeaders their number.
	maxLine    = 4096
	maxHeaders = 64
	// maxBody bounds an answer: the records of one user, whose caches may be
	// large but are many times smaller than this.
	maxBody = 1 << 30
)

var (
	// errClosed means that the service closed the connection before the first
	// byte of an answer.
	errClosed  = errors.New("connection closed before an answer")
	errNotHTTP = errors.New("the answer is not one of the secrets service")
)

// conn is one connection to the service.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func newConn(c net.Conn) *conn { return &conn{Conn: c, in: bufio.NewReaderSize(c, maxLine)} }

// reply is the answer to one request.
type reply struct {
	status int
	body   []byte
	keep   bool // the connection may be used again
}

// text is a short form of an answer in words.
func (r *reply) text() string {
	const longest = 200
	line, _, _ := bytes.Cut(bytes.TrimSpace(r.body), []byte("\n"))
	return strings.ToValidUTF8(string(line[:min(len(line), longest)]), "?")
}

// exchange sends a request and reads its answer.
func (k *conn) exchange(message []byte) (*reply, error) {
	// A failed write is told only if no answer comes: a service that refuses
	// a request early answers without reading all of it.
	_, writeErr := k.Write(message)
	if _, err := k.in.Peek(1); err != nil {
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			return nil, err
		case writeErr != nil:
			return nil, fmt.Errorf("%w: %w", errClosed, writeErr)
		}
		return nil, fmt.Errorf("%w: %w", errClosed, err)
	}
	answer, err := readReply(k.in)
	if err != nil {
		return nil, err
	}
	answer.keep = answer.keep && writeErr == nil && k.in.Buffered() == 0
	return answer, nil
}

// readReply reads an answer in the form the service sends: HTTP/1.1 with a
// Content-Length (RFC 9112, sections 4 and 6).
func readReply(in *bufio.Reader) (*reply, error) {
	line, err := readLine(in)
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.ParseUint(code, 10, 16)
	if version != "HTTP/1.1" || err != nil || status < 200 {
		return nil, errNotHTTP
	}
	answer := &reply{status: int(status), keep: true}
	length, err := answer.readHeaders(in)
	if err != nil {
		return nil, err
	}
	if answer.body, err = readBody(in, length); err != nil {
		return nil, err
	}
	return answer, nil
}

// readHeaders reads the header fields and returns the length of the body.
func (r *reply) readHeaders(in *bufio.Reader) (length int, err error) {
	length = -1
	for range maxHeaders {
		line, err := readLine(in)
		if err != nil {
			return 0, err
		}
		if line == "" && length >= 0 {
			return length, nil
		}
		name, value, found := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch {
		case !found:
			return 0, errNotHTTP
		case strings.EqualFold(name, "Content-Length"):
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil || n > maxBody || length >= 0 {
				return 0, errNotHTTP
			}
			length = int(n)
		case strings.EqualFold(name, "Transfer-Encoding"):
			return 0, errNotHTTP
		case strings.EqualFold(name, "Connection") && strings.EqualFold(value, "close"):
			r.keep = false
		}
	}
	return 0, errNotHTTP
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", errNotHTTP
	}
	if err != nil {
		return "", fmt.Errorf("head of the answer: %w", noEOF(err))
	}
	return string(bytes.TrimRight(line, "\r\n")), nil
}

// readBody reads length bytes. Memory grows with what arrives, not with what
// was announced.
func readBody(in *bufio.Reader, length int) ([]byte, error) {
	const step = 16 << 20
	var body []byte
	for len(body) < length {
		n := min(length-len(body), max(step, len(body)))
		body = append(body, make([]byte, n)...)
		if _, err := io.ReadFull(in, body[len(body)-n:]); err != nil {
			return nil, fmt.Errorf("body of the answer: %w", noEOF(err))
		}
	}
	return body, nil
}

// noEOF keeps the end of a connection from looking like the end of a stream.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
