package vault

import (
	"bytes"
	"context"
	"errors"
)

// pieceBytes is how much of an owner's records is read at a time.
const pieceBytes = 1 << 20

// Each calls fn with every record of one user, in no order; fn keeps the value.
// The records are read in pieces, and nothing is held while fn runs, so that a
// slow fn keeps nobody waiting. Each returns the first error of fn; ErrChanged
// if the records were changed before the last was read; and an error that
// matches ErrDamaged if records are missing or not as they were written, which
// may be known only at the end.
func (h *Hive) Each(ctx context.Context, uid uint32, fn func(key string, value []byte) error) error {
	walk := &walk{id: ownerID{h.name, uid}}
	for !walk.done {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := h.vault.read(walk.piece); err != nil {
			return err
		}
		for i, r := range walk.found {
			walk.found[i] = found{}
			if err := fn(r.key, r.value); err != nil {
				clearAll(walk.found)
				return err
			}
		}
		walk.found = walk.found[:0]
	}
	return nil
}

// walk is a walk over the records of an owner.
type walk struct {
	id       ownerID
	begun    bool
	head     []byte // the sealed summary, as it was at the beginning
	expected summary
	sum      summary // of what was read so far
	next     []byte  // the name on disk where the next piece begins
	done     bool
	found    []found
}

type found struct {
	key   string
	value []byte
}

func clearAll(records []found) {
	for _, r := range records {
		clear(r.value)
	}
}

// errPiece ends a piece.
var errPiece = errors.New("enough for one piece")

// piece reads the next records.
func (w *walk) piece(s *snapshot) error {
	if err := w.same(s); err != nil {
		return err
	}
	size := 0
	err := s.eachFrom(w.id, w.next, func(name, sealed []byte) error {
		if size >= pieceBytes {
			w.next = bytes.Clone(name)
			return errPiece
		}
		key, value, err := s.open(w.id, name, sealed)
		if err != nil {
			return err
		}
		size += len(sealed)
		w.found = append(w.found, found{key, value})
		return s.add(&w.sum, w.id, name, sealed)
	})
	switch {
	case errors.Is(err, errPiece):
		return nil
	case err == nil:
		w.done = true
		err = s.compare(w.id, w.expected, w.sum)
	}
	if err != nil {
		clearAll(w.found)
	}
	return err
}

// same makes certain that the records are those of the pieces before. Every
// change of an owner's records seals the summary anew.
func (w *walk) same(s *snapshot) (err error) {
	head := s.sealed(w.id, ownerName(w.id.uid))
	if w.begun {
		if !bytes.Equal(head, w.head) {
			return ErrChanged
		}
		return nil
	}
	w.begun, w.head = true, bytes.Clone(head)
	w.expected, err = s.summary(w.id)
	return err
}
