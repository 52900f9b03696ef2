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
	usualFrame = 4 << 10  // bytes; what a connection has room for at first
	keptBuffer = 64 << 10 // bytes; a larger buffer is given up after its request
)

// stream is what a session needs of a connection.
type stream interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// frames cuts what a client sends into requests.
type frames struct {
	from       stream
	buf        []byte // from begin to end: read and not yet used
	begin, end int
	hurry      responder.Hurry
}

// next returns the body of the next request, which is good until it is called
// again. It returns io.EOF when the client ends between two requests.
func (f *frames) next() ([]byte, error) {
	for {
		body, size, err := protocol.CutRequest(f.buf[f.begin:f.end])
		if err != nil {
			return nil, err
		}
		if body != nil {
			f.begin += size
			return body, f.hurry.Set(f.from, false, frameTimeout)
		}
		f.makeRoom(size)
		if err := f.hurry.Set(f.from, f.begin < f.end, frameTimeout); err != nil {
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

// makeRoom moves what is left of earlier reads to the front and sees to it
// that more fits behind. The buffer doubles with what has come instead of
// following what a frame of the given size announces.
func (f *frames) makeRoom(size int) {
	left := f.buf[f.begin:f.end]
	switch {
	case len(left) == 0 && (f.buf == nil || len(f.buf) > keptBuffer):
		f.buf = make([]byte, usualFrame)
	case len(left) == len(f.buf):
		f.buf = make([]byte, min(2*len(f.buf), max(size, usualFrame)))
		copy(f.buf, left)
	case f.begin > 0:
		copy(f.buf, left)
	default:
		return
	}
	f.begin, f.end = 0, len(left)
}
