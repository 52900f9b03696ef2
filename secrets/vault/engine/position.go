package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// position is a place in the journal, and what the database's head says of it:
//
//	generation (8)  number (4)  offset (8)  size of the file (8)  sum (16)
//
// of the first entry that the database lacks. When the engine is closed there
// are no such entries, and the head holds
//
//	generation (8)  sum (16)
//
// which is also what versions before this one wrote always: after a crash of
// such a one, entries of that generation begin at the front.
type position struct {
	generation uint64
	number     uint32
	offset     int64
	size       int64
	inUse      bool // a journal must be there
}

const (
	positionName = "journal" // of the record in the bucket Head
	closedLen    = 8
	inUseLen     = 8 + 4 + 8 + 8
)

// encode returns the record of the head. It has a sum, since taking another
// one for it would lose what is in the journal.
func (p position) encode(salt []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, p.generation)
	if p.inUse {
		b = binary.BigEndian.AppendUint32(b, p.number)
		b = binary.BigEndian.AppendUint64(b, uint64(p.offset))
		b = binary.BigEndian.AppendUint64(b, uint64(p.size))
	}
	sum := positionSum(b, salt)
	return append(b, sum[:]...)
}

func positionSum(b, salt []byte) [journalSum]byte {
	sum := sha256.Sum256(append(append([]byte(positionName), salt...), b...))
	return [journalSum]byte(sum[:])
}

// decodePosition reads it; a file that never had a journal has none.
func decodePosition(b, salt []byte) (p position, err error) {
	if b == nil {
		return position{}, nil
	}
	n := len(b) - journalSum
	if n != closedLen && n != inUseLen {
		return position{}, errors.New("its head names a journal of no known form")
	}
	if positionSum(b[:n], salt) != [journalSum]byte(b[n:]) {
		return position{}, errors.New("its head names a journal of no known form")
	}
	p.generation = binary.BigEndian.Uint64(b)
	if n == inUseLen {
		p.inUse = true
		p.number = binary.BigEndian.Uint32(b[8:])
		p.offset = int64(binary.BigEndian.Uint64(b[12:]))
		p.size = int64(binary.BigEndian.Uint64(b[20:]))
	}
	return p, nil
}
