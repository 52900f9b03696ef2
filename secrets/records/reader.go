package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Sizes of a Reader's buffer: what it begins with, and what it keeps after a
// larger frame.
const (
	usualBuffer = 8 << 10
	keptBuffer  = 64 << 10
)

// ErrTooLong is returned for a frame that is longer than its reader takes.
var ErrTooLong = errors.New("a frame is too long")

// Reader reads frames. Its buffer grows with what arrives, not with what a head
// announces, and shrinks again when the next frame is waited for.
type Reader struct {
	source     io.Reader
	buffer     []byte // from begin to end: read and not yet used
	begin, end int
}

// NewReader returns a reader of what source sends.
func NewReader(source io.Reader) *Reader {
	return &Reader{source: source, buffer: make([]byte, usualBuffer)}
}

// Wait returns when something of the next frame is there, or io.EOF when there
// is none.
func (r *Reader) Wait() error {
	if r.begin < r.end {
		return nil
	}
	if len(r.buffer) > keptBuffer {
		r.buffer = make([]byte, usualBuffer)
	}
	r.begin, r.end = 0, 0
	return r.read()
}

// Whole reports whether Next can return without reading.
func (r *Reader) Whole() bool {
	have := r.buffer[r.begin:r.end]
	return len(have) >= headSize && int64(len(have)-headSize) >= r.length()
}

// Length waits for the head of the next frame and returns the length of its
// content.
func (r *Reader) Length() (int64, error) {
	if err := r.Wait(); err != nil {
		return 0, err
	}
	if err := r.fill(headSize); err != nil {
		return 0, err
	}
	return r.length(), nil
}

// length reads a head that is in the buffer.
func (r *Reader) length() int64 { return int64(binary.BigEndian.Uint32(r.buffer[r.begin:])) }

// Next returns the next frame. Its content is valid until the next call of any
// method, and may be cleared by the caller. A frame with a content of more
// than limit bytes is read and dropped, and ErrTooLong returned. After any
// other error nothing more can be read.
func (r *Reader) Next(limit int64) (Frame, error) {
	length, err := r.Length()
	if err != nil {
		return Frame{}, err
	}
	kind := Kind(r.buffer[r.begin+4])
	if length > limit {
		r.begin += headSize
		return Frame{Kind: kind}, r.drop(length)
	}
	size := headSize + int(length)
	if err := r.fill(size); err != nil {
		return Frame{}, err
	}
	content := r.buffer[r.begin+headSize : r.begin+size]
	r.begin += size
	return Frame{Kind: kind, Content: content}, nil
}

// Text reads bytes that are not frames and must be text.
func (r *Reader) Text(text string) error {
	err := r.fill(len(text))
	have := string(r.buffer[r.begin:min(r.end, r.begin+len(text))])
	if !strings.HasPrefix(text, have) { // as the reason this goes before the end of the connection
		return fmt.Errorf("%w: %.60q where %.60q was expected", ErrMalformed, have, text)
	}
	r.begin += len(have)
	return err
}

// fill reads on until size bytes are in the buffer.
func (r *Reader) fill(size int) error {
	for r.end-r.begin < size {
		switch have := r.buffer[r.begin:r.end]; {
		case len(have) == len(r.buffer):
			room := 2 * len(r.buffer)
			if room > keptBuffer {
				room = min(room, size)
			}
			grown := make([]byte, room)
			copy(grown, have)
			clear(have)
			r.buffer, r.begin, r.end = grown, 0, len(have)
		case r.end == len(r.buffer):
			copy(r.buffer, have)
			r.begin, r.end = 0, len(have)
		}
		if err := r.read(); err != nil {
			return noEOF(err)
		}
	}
	return nil
}

// drop reads length bytes without keeping them.
func (r *Reader) drop(length int64) error {
	for length > 0 {
		n := min(length, int64(r.end-r.begin))
		r.begin += int(n)
		if length -= n; length == 0 {
			break
		}
		r.begin, r.end = 0, 0
		if err := r.read(); err != nil {
			return noEOF(err)
		}
	}
	return ErrTooLong
}

// read reads once, into the end of the buffer.
func (r *Reader) read() error {
	n, err := r.source.Read(r.buffer[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// noEOF keeps the end of a connection from looking like the end of a frame.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
