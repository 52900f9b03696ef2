package records

import (
	"encoding/binary"
	"fmt"
)

// The messages of an HTTP upgrade (RFC 9110, section 7.8), after which both
// ends send frames. The client's is always this one; the server's head is
// always this one too, so that a client need not parse HTTP.
const (
	Protocol       = "gosssd-records/1"
	UpgradeRequest = "GET /kcm/persistent/ HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: " + Protocol + "\r\n\r\n"
	UpgradeAnswer  = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + Protocol + "\r\n\r\n"
)

// Kind tells what is in a frame.
type Kind uint8

// The kinds of frames: three requests, and what they are answered with, any
// number of Some and one Done.
const (
	Owners Kind = 1 // which users have records; the answer's keys are their uids
	Load   Kind = 2 // all records of a user
	Commit Kind = 3 // changes of a user's records, made all or none
	Some   Kind = 4 // some of the records that were asked for
	Done   Kind = 5 // the end of an answer: whether it is success
)

func (k Kind) String() string {
	names := [...]string{Owners: "owners", Load: "load", Commit: "commit", Some: "some", Done: "done"}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// headSize is the size of a frame's head: the length of what follows it, a
// big-endian 32-bit number, and the kind.
const headSize = 5

// Frame is one frame.
type Frame struct {
	Kind    Kind
	Content []byte
}

// Begin appends the head of a frame to dst. What is appended after it is the
// frame's content; then End is called.
func Begin(dst []byte, kind Kind) []byte { return append(dst, 0, 0, 0, 0, byte(kind)) }

// End writes the length into a frame that Begin began, and that is all of b.
func End(b []byte) { binary.BigEndian.PutUint32(b, uint32(len(b)-headSize)) }

// Token names a load. A client makes one up for each load of a user's records,
// and says it again with each change that builds on that load. The zero Token
// is none.
type Token [16]byte

// Subject says which user's records a Load or a Commit is about.
type Subject struct {
	UID   uint32
	Token Token
}

const subjectSize = 4 + len(Token{})

// AppendTo appends the subject: the first of a request's content.
func (s Subject) AppendTo(dst []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, s.UID), s.Token[:]...)
}

// CutSubject cuts the subject off a request's content. Of a Commit the changes
// remain, as records.
func CutSubject(content []byte) (s Subject, changes []byte, err error) {
	if len(content) < subjectSize {
		return Subject{}, nil, fmt.Errorf("%w: %d bytes where a subject was expected", ErrMalformed, len(content))
	}
	s.UID = binary.BigEndian.Uint32(content)
	copy(s.Token[:], content[4:])
	return s, content[subjectSize:], nil
}

// DiskFull is a status that HTTP has not: nothing was written, for want of
// space. To HTTP's 507 a quota is the reason.
const DiskFull = 590

// Result is the content of Done: a status as HTTP numbers them, or DiskFull,
// and the service's words for it.
type Result struct {
	Status int
	Text   string
}

// AppendTo appends the result as a whole frame.
func (r Result) AppendTo(dst []byte) []byte {
	at := len(dst)
	dst = Begin(dst, Done)
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.Status))
	dst = append(dst, r.Text...)
	End(dst[at:])
	return dst
}

// ParseResult reads the content of Done.
func ParseResult(content []byte) (Result, error) {
	if len(content) < 2 {
		return Result{}, fmt.Errorf("%w: %d bytes where a status was expected", ErrMalformed, len(content))
	}
	return Result{Status: int(binary.BigEndian.Uint16(content)), Text: string(content[2:])}, nil
}
