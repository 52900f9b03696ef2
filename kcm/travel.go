package kcm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"gosssd/kcm/archive"
	"gosssd/kcm/protocol"
	"gosssd/sbus"
)

// The methods of the bus by which a user's caches leave for another host, and
// come from one: records as an archive has them, in pieces that fit into a
// message. sssctl seals and opens the archive.
const (
	exportRecords = "ExportRecords"
	importRecords = "ImportRecords"
	wasArchive    = "WasImported"
	setArchive    = "SetImported"
)

const (
	pieceSize = 512 << 10 // of a message, which may have 1 MiB
	maxTravel = 96 << 20  // bytes of one user's records: more than max_uid_ccache_size by default
	maxKnown  = 64        // archives that are known to have been imported
)

func travelMethods() []sbus.Method {
	uid, id := sbus.Arg{Name: "uid", Type: "u"}, sbus.Arg{Name: "id", Type: "ay"}
	return []sbus.Method{
		{Name: exportRecords, In: []sbus.Arg{uid, {Name: "from", Type: "t"}}, Out: []sbus.Arg{{Name: "piece", Type: "ay"}, {Name: "total", Type: "t"}}},
		{Name: importRecords, In: []sbus.Arg{uid, {Name: "from", Type: "t"}, {Name: "piece", Type: "ay"}, {Name: "last", Type: "b"}},
			Out: []sbus.Arg{{Name: "imported", Type: "u"}, {Name: "present", Type: "u"}, {Name: "problems", Type: "as"}}},
		{Name: wasArchive, In: []sbus.Arg{id}, Out: []sbus.Arg{{Name: "done", Type: "b"}}},
		{Name: setArchive, In: []sbus.Arg{id}},
	}
}

// traveller is one user's records on their way, between two calls. There is
// one at a time, so that they take memory once, whoever asks.
type traveller struct {
	uid     uint32
	leaves  bool
	records []byte
	touched bool // since forgetTraveller looked
}

// forgetTraveller drops records whose sssctl has ended on the way.
func (s *Server) forgetTraveller() {
	s.moving.Lock()
	defer s.moving.Unlock()
	if !s.traveller.touched {
		s.traveller = traveller{}
	}
	s.traveller.touched = false
}

// travel answers those methods; ok is false for all others.
func (s *Server) travel(ctx context.Context, method string, args []any) (results []any, ok bool, err error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	switch method {
	case exportRecords:
		piece, total, err := s.exportPiece(ctx, args[0].(uint32), args[1].(uint64))
		return []any{piece, total}, true, err
	case importRecords:
		imported, present, problems, err := s.importPiece(ctx, args[0].(uint32), args[1].(uint64), args[2].([]byte), args[3].(bool))
		return []any{imported, present, problems}, true, err
	case wasArchive:
		done, err := s.wasImported(ctx, args[0].([]byte))
		return []any{done}, true, err
	case setArchive:
		if id := args[0].([]byte); len(id) != sha256.Size {
			return nil, true, sbus.Errorf(sbus.ErrorInvalidArgs, "the ID of an archive has %d bytes, not %d", sha256.Size, len(id))
		}
		return nil, true, s.setImported(ctx, args[0].([]byte))
	}
	return nil, false, nil
}

// exportPiece returns the next piece of a user's records, and how many bytes
// they have in all. They are those of the moment at which the first was asked
// for.
func (s *Server) exportPiece(ctx context.Context, uid uint32, from uint64) (piece []byte, total uint64, err error) {
	if from == 0 {
		s.traveller = traveller{uid: uid, leaves: true}
		err := s.inspect(ctx, s.users.of(uid), func(state *state) (err error) {
			s.traveller.records, err = state.travelling(s.travelLimit)
			return err
		})
		if err != nil {
			return nil, 0, err
		}
	}
	t := &s.traveller
	total = uint64(len(t.records))
	if !t.leaves || t.uid != uid || from > total {
		return nil, 0, errors.New("another export or import has come between; begin again")
	}
	t.touched = true
	piece = t.records[from:min(from+pieceSize, total)]
	if from+uint64(len(piece)) == total {
		s.traveller = traveller{}
	}
	return piece, total, nil
}

// travelling encodes the user's caches as records of an archive, of at most
// limit bytes.
func (s *state) travelling(limit uint64) (b []byte, err error) {
	add := func(key string, value []byte) {
		if uint64(len(b)+len(key)+len(value)) > limit {
			err = tooMuch(s.uid, limit)
		}
		if err == nil {
			b = archive.AppendRecord(b, archive.Record{Key: key, Value: value})
		}
	}
	if s.preferred != (protocol.UUID{}) {
		e := newEdit(s)
		e.setDefault(s.preferred, s.previous)
		add(defaultKey, e.records[defaultKey])
	}
	for _, c := range s.caches {
		add(headerKey(c.id), encodeHeader(c))
		for _, entry := range c.entries {
			add(credentialKey(c.id, entry.seq), entry.record)
		}
	}
	return b, err
}

func tooMuch(uid uint32, limit uint64) error {
	return sbus.Errorf(sbus.ErrorInvalidArgs, "the caches of uid %d have more than %d MiB", uid, limit>>20)
}

// importPiece takes the next piece of a user's records. With the last one the
// caches are added in one commit: those that the user has, or has newer ones of
// the name, stay as they are. No limit refuses what the user had already.
func (s *Server) importPiece(ctx context.Context, uid uint32, from uint64, piece []byte, last bool) (imported, present uint32, problems []string, err error) {
	problems = []string{}
	if from == 0 {
		s.traveller = traveller{uid: uid}
	}
	t := &s.traveller
	switch {
	case t.leaves || t.uid != uid || from != uint64(len(t.records)):
		return 0, 0, problems, errors.New("another export or import has come between; begin again")
	case from+uint64(len(piece)) > s.travelLimit:
		s.traveller = traveller{}
		return 0, 0, problems, tooMuch(uid, s.travelLimit)
	}
	t.touched = true
	t.records = append(t.records, piece...)
	if !last {
		return 0, 0, problems, nil
	}
	records := t.records
	s.traveller = traveller{}
	old, damaged, err := arrived(uid, records)
	if err != nil {
		return 0, 0, problems, fmt.Errorf("uid %d: %w", uid, err)
	}
	problems = append(problems, damaged...)
	err = s.users.of(uid).apply(ctx, func(e *edit) error {
		imported, present = e.takeOver(old)
		return nil
	})
	if err == nil {
		s.users.log.Info("caches of another host are imported", "uid", uid, "imported", imported, "present", present, "problems", len(problems))
	}
	return imported, present, problems, err
}

// arrived reads what travelling wrote. A cache whose name the user may not give
// is left out, and what cannot be read. The login session that a cache was to
// end with is of the other host: here it would be over at once.
func arrived(uid uint32, b []byte) (old *state, problems []string, err error) {
	records, from := newLoader(), bytes.NewReader(b)
	for {
		r, err := archive.ReadRecord(from)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && r.Key == importedKey {
			continue // which archives were imported elsewhere is of no meaning here
		}
		if err == nil {
			err = records.add(r.Key, r.Value)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	old, damaged := records.finish()
	old.uid = uid
	for _, c := range old.caches {
		c.session = nil
	}
	for _, d := range damaged {
		problems = append(problems, fmt.Sprintf("uid %d: record %q: %v", uid, d.key, d.err))
	}
	old.caches = slices.DeleteFunc(old.caches, func(c *cache) bool {
		if mayCreate(uid, []byte(c.name)) {
			return false
		}
		problems = append(problems, fmt.Sprintf("uid %d: cache %q has a name that belongs to another user", uid, c.name))
		return true
	})
	return old, problems, nil
}
