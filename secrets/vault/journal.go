package vault

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A commit of the engine waits for the disk twice. So most changes are written
// to a journal first, which takes one wait, and are brought into the database
// together when the journal is full or the file is closed.
//
// The journal is a file of fixed size beside the database, a ring of one turn:
// entries lie in it one behind the other, each beginning at a multiple of
// journalAlign. An entry is
//
//	journalMagic  length of the payload (4)  generation (8)  number (4)  sum (16)
//
// and the payload, which is changes. The sum is a hash over the database's salt
// and everything else of the entry. The database's head holds the generation of
// the entries that are to be brought into it; those of other generations are
// done with.
const (
	journalSuffix = ".journal"
	usualJournal  = 1 << 20
	journalAlign  = 512 // a sector: what was acknowledged is not written again

	journalMagic  = "gvj1"
	journalSum    = 16
	journalHeader = len(journalMagic) + 4 + 8 + 4 + journalSum
	journalKey    = "journal" // of the database's head
)

// deleted stands in place of the length of a value in a change that deletes.
const deleted = 0xffffffff

// journal is where the changes are durable that the database lacks.
type journal struct {
	path       string
	salt       []byte
	opts       Options
	file       *os.File // nil until it is needed
	generation uint64
	number     uint32 // of the next entry
	size       int64  // of the file, once it is open
	end        int64  // of the last entry
	buf        []byte
}

// open opens the file; without one it returns fs.ErrNotExist.
func (j *journal) open() error {
	f, err := os.OpenFile(j.path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := checkOwner(f, j.opts.OwnerUID); err != nil {
		return errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.size = f, info.Size()
	return nil
}

// read returns the changes that the database lacks. An entry that was not
// written whole ends them: nobody was told that it was. One that is followed
// by another is damage.
func (j *journal) read() (changes, error) {
	err := j.open()
	if errors.Is(err, fs.ErrNotExist) {
		return changes{}, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.NewSectionReader(j.file, 0, j.size))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", j.path, err)
	}
	all := changes{}
	for {
		payload, size := j.entry(b[j.end:])
		if size == 0 {
			break
		}
		if err := parseChanges(payload, all); err != nil {
			return nil, &DamageError{File: j.path, What: err.Error()}
		}
		j.end += size
		j.number++
	}
	return all, j.checkRest(b)
}

// checkRest looks for entries behind the last one.
func (j *journal) checkRest(b []byte) error {
	behind := *j
	for at := j.end; at+int64(journalHeader) <= int64(len(b)); at += journalAlign {
		behind.number = binary.BigEndian.Uint32(b[at+16:])
		if _, size := behind.entry(b[at:]); size > 0 && behind.number >= j.number {
			return &DamageError{File: j.path, What: "an entry in the middle is not as it was written"}
		}
	}
	return nil
}

// entry returns the payload of the next entry at the beginning of b, and the
// size of the entry; 0 if there is none.
func (j *journal) entry(b []byte) (payload []byte, size int64) {
	if len(b) < journalHeader || string(b[:len(journalMagic)]) != journalMagic {
		return nil, 0
	}
	length := binary.BigEndian.Uint32(b[4:])
	if uint64(length) > uint64(len(b)-journalHeader) ||
		binary.BigEndian.Uint64(b[8:]) != j.generation || binary.BigEndian.Uint32(b[16:]) != j.number {
		return nil, 0
	}
	payload = b[journalHeader : journalHeader+int(length)]
	if j.sum(b, payload) != [journalSum]byte(b[20:]) {
		return nil, 0
	}
	return payload, aligned(int64(journalHeader) + int64(length))
}

// sum is that of an entry with this header.
func (j *journal) sum(header, payload []byte) [journalSum]byte {
	h := sha256.New()
	h.Write(j.salt)
	h.Write(header[:20])
	h.Write(payload)
	return [journalSum]byte(h.Sum(nil))
}

func aligned(n int64) int64 { return (n + journalAlign - 1) / journalAlign * journalAlign }

// append makes changes durable and reports true, or that there is no room.
func (j *journal) append(c changes) (bool, error) {
	j.buf = append(j.buf[:0], make([]byte, journalHeader)...)
	j.buf = appendChanges(j.buf, c)
	defer func() { clear(j.buf) }()
	if err := j.prepare(); err != nil {
		return false, err
	}
	if j.end+aligned(int64(len(j.buf))) > j.size {
		return false, nil
	}
	payload := j.buf[journalHeader:]
	copy(j.buf, journalMagic)
	binary.BigEndian.PutUint32(j.buf[4:], uint32(len(payload)))
	binary.BigEndian.PutUint64(j.buf[8:], j.generation)
	binary.BigEndian.PutUint32(j.buf[16:], j.number)
	sum := j.sum(j.buf, payload)
	copy(j.buf[20:], sum[:])
	if _, err := j.file.WriteAt(j.buf, j.end); err != nil {
		return false, err
	}
	j.end += aligned(int64(len(j.buf)))
	j.number++
	return true, j.sync()
}

func (j *journal) sync() error {
	if j.opts.noSync {
		return nil
	}
	for {
		err := unix.Fdatasync(int(j.file.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// prepare makes the file if it is missing, with its full size on disk, so that
// a write to it changes nothing but its contents.
func (j *journal) prepare() error {
	if j.file != nil {
		return nil
	}
	size := j.opts.journalSize
	if size == 0 {
		size = usualJournal
	}
	err := createFile(j.path, func(f *os.File) error {
		_, err := f.Write(make([]byte, size))
		return err
	})
	if err != nil {
		return fmt.Errorf("make %s: %w", j.path, err)
	}
	return j.open()
}

// restart begins at the front with a new generation, when everything is in the
// database.
func (j *journal) restart(generation uint64) {
	j.generation, j.number, j.end = generation, 0, 0
}

// wipe writes zeros over the entries, all of which are in the database.
func (j *journal) wipe() error {
	if j.file == nil {
		return nil
	}
	if _, err := j.file.WriteAt(make([]byte, j.size), 0); err != nil {
		return err
	}
	return j.sync()
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	return j.file.Close()
}

// appendChanges appends each change: its bucket and its name behind a length of
// two bytes, and its value behind one of four.
func appendChanges(b []byte, c changes) []byte {
	for g, records := range c {
		for name, value := range records {
			b = binary.BigEndian.AppendUint16(b, uint16(len(g.bucket)))
			b = append(b, g.bucket...)
			b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
			b = append(b, name...)
			if value == nil {
				b = binary.BigEndian.AppendUint32(b, deleted)
				continue
			}
			b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
			b = append(b, value...)
		}
	}
	return b
}

// parseChanges adds what appendChanges wrote to c.
func parseChanges(b []byte, c changes) error {
	errShort := errors.New("an entry is cut short")
	field := func(size int) ([]byte, bool) {
		if len(b) < size {
			return nil, false
		}
		f := b[:size:size]
		b = b[size:]
		return f, true
	}
	text := func() ([]byte, bool) {
		length, ok := field(2)
		if !ok {
			return nil, false
		}
		return field(int(binary.BigEndian.Uint16(length)))
	}
	for len(b) > 0 {
		bucket, ok := text()
		name, okName := text()
		length, okLength := field(4)
		if !ok || !okName || !okLength || string(bucket) != string(headBucket) && len(name) < len(ownerName(0)) {
			return errShort
		}
		var value []byte
		if n := binary.BigEndian.Uint32(length); n != deleted {
			if value, ok = field(int(n)); !ok {
				return errShort
			}
		}
		c.set(bucket, name, value)
	}
	return nil
}

// encodeGeneration is the record of the head that names the generation. It has
// a sum, since taking another one for it would lose what is in the journal.
func (j *journal) encodeGeneration(generation uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, generation)
	sum := sha256.Sum256(append(append([]byte(journalKey), j.salt...), b...))
	return append(b, sum[:journalSum]...)
}

// decodeGeneration reads it; a file that never had a journal has none.
func (j *journal) decodeGeneration(b []byte) (uint64, error) {
	if b == nil {
		return 0, nil
	}
	if len(b) != 8+journalSum || string(j.encodeGeneration(binary.BigEndian.Uint64(b))) != string(b) {
		return 0, errUnsealed
	}
	return binary.BigEndian.Uint64(b), nil
}
