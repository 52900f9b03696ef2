// Package archive is the format in which credential caches travel from one
// host to another: a stream of users, and of the records that each has in the
// store. It is pure: it neither seals nor stores. Whoever writes an archive
// seals it, since it holds the keys of tickets.
//
// All numbers are big-endian. An archive is Magic, its ID, and entries, each
// of which begins with a byte:
//
//	1  user:    uid (4 bytes), name (length in 4 bytes, bytes)
//	2  record:  key (length, bytes), value (length, bytes), of the user before
//	0  end:     nothing follows
//
// Keys and values are those of kcm's records ("Records" in kcm's README).
package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Magic begins every archive. The digit is the version of the format.
const Magic = "gosssd credential caches 1\n"

// IDSize is the length of the random number that tells archives apart.
const IDSize = 32

// Limits of what is read.
const (
	maxName  = 256       // bytes of a user's name
	maxKey   = 256       // of a record's key
	maxValue = 128 << 20 // of a record's value
)

const (
	entryEnd    = 0
	entryUser   = 1
	entryRecord = 2
)

// ErrFormat is the reason to refuse what is not a whole archive.
var ErrFormat = errors.New("it is not an archive of credential caches, or it is damaged")

// User is whose the records are that follow.
type User struct {
	UID  uint32
	Name string // on the host that wrote the archive; "" if that knew none
}

// Record is one record of a user.
type Record struct {
	Key   string
	Value []byte
}

// AppendRecord appends a record as an archive has it, without its first byte.
func AppendRecord(b []byte, r Record) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Key)))
	b = append(b, r.Key...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Value)))
	return append(b, r.Value...)
}

// ReadRecord reads what AppendRecord wrote; io.EOF if there is nothing.
func ReadRecord(from io.Reader) (r Record, err error) {
	key, err := readData(from, maxKey)
	if err != nil {
		return r, err
	}
	value, err := readData(from, maxValue)
	return Record{string(key), value}, whole(err)
}

// Writer writes an archive.
type Writer struct {
	to  io.Writer
	err error
}

// NewWriter begins an archive.
func NewWriter(to io.Writer, id [IDSize]byte) *Writer {
	w := &Writer{to: to}
	_ = w.write(append([]byte(Magic), id[:]...)) // whoever writes next is told
	return w
}

// User begins the records of a user.
func (w *Writer) User(u User) error {
	b := binary.BigEndian.AppendUint32([]byte{entryUser}, u.UID)
	b = binary.BigEndian.AppendUint32(b, uint32(len(u.Name)))
	return w.write(append(b, u.Name...))
}

// Record adds a record of the user.
func (w *Writer) Record(r Record) error { return w.write(AppendRecord([]byte{entryRecord}, r)) }

// Close ends the archive.
func (w *Writer) Close() error { return w.write([]byte{entryEnd}) }

func (w *Writer) write(b []byte) error {
	if w.err == nil {
		_, w.err = w.to.Write(b)
	}
	return w.err
}

// Read reads an archive to its end and calls user and record for what is in it.
// An error of theirs ends it.
func Read(from io.Reader, user func(User) error, record func(Record) error) (id [IDSize]byte, err error) {
	head := make([]byte, len(Magic))
	if _, err := io.ReadFull(from, head); err != nil || string(head) != Magic {
		return id, errors.Join(ErrFormat, notEnd(err))
	}
	if _, err := io.ReadFull(from, id[:]); err != nil {
		return id, whole(err)
	}
	for users := 0; ; {
		var kind [1]byte
		if _, err := io.ReadFull(from, kind[:]); err != nil {
			return id, whole(err)
		}
		switch {
		case kind[0] == entryEnd:
			if n, err := io.ReadFull(from, kind[:]); n > 0 || !errors.Is(err, io.EOF) {
				return id, fmt.Errorf("%w: something follows its end", errors.Join(ErrFormat, notEnd(err)))
			}
			return id, nil
		case kind[0] == entryUser:
			users++
			err = readUser(from, user)
		case kind[0] == entryRecord && users > 0:
			var r Record
			if r, err = ReadRecord(from); err == nil {
				err = record(r)
			}
			err = whole(err)
		default:
			err = fmt.Errorf("%w: an entry of kind %d", ErrFormat, kind[0])
		}
		if err != nil {
			return id, err
		}
	}
}

func readUser(from io.Reader, user func(User) error) error {
	var uid [4]byte
	if _, err := io.ReadFull(from, uid[:]); err != nil {
		return whole(err)
	}
	name, err := readData(from, maxName)
	if err != nil {
		return whole(err)
	}
	return user(User{binary.BigEndian.Uint32(uid[:]), string(name)})
}

// readData reads bytes behind their length. Memory is taken for what comes.
func readData(from io.Reader, most uint32) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > most {
		return nil, fmt.Errorf("%w: %d bytes where at most %d can be", ErrFormat, n, most)
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, from, int64(n)); err != nil {
		return nil, whole(err)
	}
	return b.Bytes(), nil
}

// whole turns an end that comes too early into an error that says so.
func whole(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrFormat)
	}
	return err
}

// notEnd is an error of the reader itself.
func notEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}
