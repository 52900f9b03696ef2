package kcm

import (
	"errors"
	"io"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/responder"
)

// A client that stalls within a frame, or does not take its reply, is
// dropped. Between requests it may be silent as long as it likes.
const (
	frameTimeout = 30 * time.Second
	replyTimeout = 30 * time.Second
)

const (
	usualFrame = 4 << 10  // bytes; what a connection has room for at first, and keeps between requests
	wholeFrame = 64 << 10 // bytes; larger ones get room as they come
)

// requestFactor is how many times the bytes of its frame a request may take
// while it is served: the frame, the records made of it, what points into them
// (a part of a credential takes 4 bytes on the wire and 24 in memory), and what
// the store sends.
const requestFactor = 8

// stream is what a session needs of a connection.
type stream interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Active() time.Duration // when something was last read or written, as responder.Conn tells it
	Touch()                // something was written past Write
}

// frames cuts what a client sends into requests. What is larger than usual
// waits for memory before more of it is read.
type frames struct {
	op         string // of the request that comes, or came last; for the log
	from       stream
	memory     *responder.Holding
	buf        []byte // from begin to end: read and not yet used
	begin, end int
	large      bool // memory is held
	deadline   responder.RequestDeadline
}

// next returns the body of the next request, which is good until done is
// called. It returns io.EOF when the client ends between two requests.
func (f *frames) next() ([]byte, error) {
	for {
		f.op = protocol.NameOfNext(f.buf[f.begin:f.end])
		body, size, err := protocol.CutRequest(f.buf[f.begin:f.end])
		if err != nil {
			return nil, err
		}
		if body != nil {
			f.begin += size
			return body, f.deadline.Set(f.from, false, frameTimeout)
		}
		if size > usualFrame && !f.large {
			if err := f.memory.Take(int64(size)*requestFactor, frameTimeout); err != nil {
				return nil, err
			}
			f.large = true
		}
		f.makeRoom(size)
		if err := f.deadline.Set(f.from, f.begin < f.end, frameTimeout); err != nil {
			return nil, err
		}
		n, err := f.from.Read(f.buf[f.end:])
		f.end += n
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) && f.begin < f.end {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// done forgets the request that next has returned. Keys and tickets do not
// stay in memory with a client that is silent.
func (f *frames) done() {
	clear(f.buf[:f.begin])
	if f.begin == f.end {
		f.begin, f.end = 0, 0
	}
	if f.large {
		left := f.buf[f.begin:f.end]
		f.buf = append(make([]byte, 0, usualFrame), left...)
		f.buf = f.buf[:cap(f.buf)]
		f.begin, f.end = 0, len(left)
		f.memory.Free()
		f.large = false
	}
}

// makeRoom moves what is left of earlier reads to the front and sees to it
// that more fits behind. A large buffer doubles with what has come instead of
// following what a frame of the given size announces.
func (f *frames) makeRoom(size int) {
	left := f.buf[f.begin:f.end]
	switch {
	case f.buf == nil:
		f.buf = make([]byte, usualFrame)
	case len(left) == len(f.buf):
		next := size
		if size > wholeFrame {
			next = min(max(2*len(f.buf), wholeFrame), size)
		}
		grown := make([]byte, next)
		copy(grown, left)
		clear(left)
		f.buf = grown
	case f.begin > 0:
		copy(f.buf, left)
		clear(f.buf[max(len(left), f.begin):f.end])
	default:
		return
	}
	f.begin, f.end = 0, len(left)
}
