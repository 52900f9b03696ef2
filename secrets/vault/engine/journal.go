package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// A commit of the database waits for the disk twice. So most changes are
// written to a journal first, which takes one wait, and are brought into the
// database later, several together.
//
// The journal is a file of fixed size beside the database, used as a ring:
// entries lie in it one behind the other, each beginning at a multiple of
// journalAlign, and go on at the front where the next does not fit before the
// end. An entry is
//
//	journalMagic  length of the payload (4)  generation (8)  number (4)  sum (16)
//
// and the payload, which is changes. The sum is a hash over the database's salt
// and everything else of the entry. The database's head holds the position of
// the first entry that is to be brought into it (position.go).
const (
	journalSuffix = ".journal"
	usualJournal  = 1 << 20
	journalAlign  = 512 // a sector: what was acknowledged is not written again

	journalMagic  = "gvj1"
	journalSum    = 16
	journalHeader = len(journalMagic) + 4 + 8 + 4 + journalSum

	// maxNumber is when the numbers of entries begin again, with a new
	// generation.
	maxNumber = 1 << 31

	// lostWord is the whole contents of a file that an administrator puts in
	// the place of a journal that is lost for good.
	lostWord = "lost"
)

// deleted stands in place of the length of a value in a change that deletes.
const deleted = 0xffffffff

// entry is an entry that the database lacks, or some of it.
type entry struct {
	number uint32
	end    int64
	bytes  int64 // with what was left free at the end of the ring before it
	names  []change
}

// journal is where the changes are durable that the database lacks.
type journal struct {
	path    string
	salt    []byte
	opts    Options
	file    *os.File // nil until it is needed
	id      identity
	size    int64    // of the file, once it is open
	at      position // of the next entry
	entries []*entry // that the database lacks, the oldest first
	used    int64    // bytes that they take
	buf     []byte
}

// open opens the file; without one it returns fs.ErrNotExist.
func (j *journal) open() error {
	f, err := os.OpenFile(j.path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := CheckOwner(f, j.opts.OwnerUID); err != nil {
		return errors.Join(err, f.Close())
	}
	now, err := identifyOpen(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.id, j.size = f, now, now.size
	return nil
}

// isThere reports whether the path still leads to the file, as long as it was.
func (j *journal) isThere() bool {
	if j.file == nil {
		return false
	}
	now, err := identify(j.path)
	return err == nil && now == j.id
}

// read returns the changes that the database lacks, from a position on. An
// entry that was not written whole ends them: nobody was told that it was. One
// that is followed by another is damage.
func (j *journal) read(from position) (overlay, error) {
	over := overlay{}
	j.at = from
	err := j.open()
	if errors.Is(err, fs.ErrNotExist) {
		if from.inUse {
			return nil, j.lost("it is missing, and may hold changes that the database lacks")
		}
		return over, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.NewSectionReader(j.file, 0, j.size))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", j.path, err)
	}
	if string(b) == lostWord || string(b) == lostWord+"\n" {
		return over, nil
	}
	if from.inUse && j.size != from.size {
		return nil, j.lost(fmt.Sprintf("it has %d bytes and should have %d", j.size, from.size))
	}
	for {
		payload, at, size := j.next(b)
		if size == 0 {
			break
		}
		made := changes{}
		if err := parseChanges(payload, made); err != nil {
			return nil, j.lost(err.Error())
		}
		over.add(made, j.at.number)
		j.note(made, at, size)
	}
	return over, j.checkRest(b)
}

func (j *journal) lost(what string) error {
	return &DamageError{File: j.path, What: what, Advice: "restore it and the database from one backup; or, if it is lost, put a file of mode 0600 in its place " +
		"that holds the word " + lostWord + ", and what was changed last is given up"}
}

// next returns the payload of the next entry of b, where it is, and its size; 0
// if there is none.
func (j *journal) next(b []byte) (payload []byte, at, size int64) {
	for _, at := range []int64{j.at.offset, 0} {
		if at > int64(len(b)) {
			continue
		}
		if payload, size := j.entry(b[at:], j.at.number); size > 0 {
			return payload, at, size
		}
	}
	return nil, 0, 0
}

// note adds an entry behind the last.
func (j *journal) note(made changes, at, size int64) {
	e := &entry{number: j.at.number, end: at + size, bytes: size}
	if at < j.at.offset {
		e.bytes += j.size - j.at.offset
	}
	for g, records := range made {
		for name := range records {
			e.names = append(e.names, change{group: g, name: name})
		}
	}
	j.entries = append(j.entries, e)
	j.used += e.bytes
	j.at.offset = e.end
	j.at.number++
}

// checkRest looks for entries behind the last one.
func (j *journal) checkRest(b []byte) error {
	for at := int64(0); at+int64(journalHeader) <= int64(len(b)); at += journalAlign {
		number := binary.BigEndian.Uint32(b[at+16:])
		if number < j.at.number {
			continue
		}
		if _, size := j.entry(b[at:], number); size > 0 {
			return j.lost("an entry in the middle is not as it was written")
		}
	}
	return nil
}

// entry returns the payload of the entry at the beginning of b, which has this
// number, and the size of the entry; 0 if there is none.
func (j *journal) entry(b []byte, number uint32) (payload []byte, size int64) {
	if len(b) < journalHeader || string(b[:len(journalMagic)]) != journalMagic {
		return nil, 0
	}
	length := binary.BigEndian.Uint32(b[4:])
	if uint64(length) > uint64(len(b)-journalHeader) ||
		binary.BigEndian.Uint64(b[8:]) != j.at.generation || binary.BigEndian.Uint32(b[16:]) != number {
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

// place returns where an entry of a size goes, -1 if there is no room.
func (j *journal) place(size int64) int64 {
	end := j.at.offset
	if len(j.entries) == 0 {
		if end+size <= j.size {
			return end
		}
		if size <= j.size {
			return 0
		}
		return -1
	}
	first := j.entries[0].end - j.entries[0].bytes // where the oldest begins, or what was left free before it
	if first < 0 {
		first += j.size
	}
	switch {
	case j.used == j.size:
		return -1
	case end >= first && end+size <= j.size:
		return end
	case end >= first && size <= first:
		return 0
	case end < first && end+size <= first:
		return end
	}
	return -1
}

// encode lays out an entry in the buffer of the journal.
func (j *journal) encode(made changes) {
	j.buf = append(j.buf[:0], make([]byte, journalHeader)...)
	j.buf = appendChanges(j.buf, made)
	payload := j.buf[journalHeader:]
	copy(j.buf, journalMagic)
	binary.BigEndian.PutUint32(j.buf[4:], uint32(len(payload)))
	binary.BigEndian.PutUint64(j.buf[8:], j.at.generation)
	binary.BigEndian.PutUint32(j.buf[16:], j.at.number)
	sum := j.sum(j.buf, payload)
	copy(j.buf[20:], sum[:])
}

// sync waits until the disk has what was written.
func (j *journal) sync() error {
	if j.opts.NoSync {
		return nil
	}
	if j.opts.Synced != nil {
		began := time.Now()
		defer func() { j.opts.Synced(time.Since(began)) }()
	}
	for {
		err := unix.Fdatasync(int(j.file.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// make puts a new, empty file in the place of whatever is there, with its full
// size on disk, so that a write to it changes nothing but its contents. The
// database has everything that was in the one before.
func (j *journal) make() error {
	size := j.opts.JournalSize
	if size == 0 {
		size = usualJournal
	}
	err := linux.Replace(j.path, 0o600, func(f *os.File) error {
		_, err := f.Write(make([]byte, size))
		return err
	})
	if err != nil {
		return fmt.Errorf("make %s: %w", j.path, err)
	}
	if err := j.close(); err != nil {
		return err
	}
	return j.open()
}

// wipe writes zeros over the entries, all of which are in the database.
func (j *journal) wipe() error {
	if j.file == nil {
		return nil
	}
	if _, err := j.file.WriteAt(make([]byte, j.size), 0); err != nil {
		return err
	}
	if err := j.sync(); err != nil {
		return &DoubtError{err} // what was to be wiped may still be there
	}
	return nil
}

func (j *journal) close() error {
	if j.file == nil {
		return nil
	}
	f := j.file
	j.file, j.size = nil, 0
	return f.Close()
}

// sizeOf returns how long an entry is.
func sizeOf(c changes) int64 {
	n := int64(journalHeader)
	for g, records := range c {
		for name, value := range records {
			n += int64(2 + len(g.bucket) + 2 + len(name) + 4 + len(value))
		}
	}
	return aligned(n)
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
		if !ok || !okName || !okLength || len(name) < GroupLen {
			return errShort
		}
		var value []byte
		if n := binary.BigEndian.Uint32(length); n != deleted {
			if value, ok = field(int(n)); !ok {
				return errShort
			}
		}
		c.set(string(bucket), name, value)
	}
	return nil
}
