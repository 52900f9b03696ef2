package kcm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"gosssd/confdb"
	"gosssd/kcm/protocol"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/sbus"
)

// The methods of the responder's interface on the bus. They bring caches from
// a storage that ccache_storage named before into the one in use, user by user.
const (
	ownersIn   = "OwnersIn"
	moveCaches = "MoveCaches"
)

// methods declares them. MoveCaches returns how many caches were moved, how
// many were dropped because the user has a newer one of the name, and how many
// records cannot be read and were left in their place.
func methods() []sbus.Method {
	return append([]sbus.Method{
		{Name: ownersIn, In: []sbus.Arg{{Name: "storage", Type: "s"}}, Out: []sbus.Arg{{Name: "uids", Type: "au"}}},
		{Name: moveCaches, In: []sbus.Arg{{Name: "storage", Type: "s"}, {Name: "uid", Type: "u"}},
			Out: []sbus.Arg{{Name: "moved", Type: "u"}, {Name: "dropped", Type: "u"}, {Name: "damaged", Type: "u"}}},
		importMethod(),
	}, slices.Concat(upkeepMethods(), inspectionMethods(), usageMethods(), travelMethods())...)
}

// storageChange warns of caches that a change of ccache_storage leaves behind.
func storageChange(inForce, next *confdb.Snapshot) []responder.Remark {
	const key = "ccache_storage"
	was, is := inForce.Section(section).String(key), next.Section(section).String(key)
	text := fmt.Sprintf("was '%s' and will be '%s': caches stay where they are, out of sight, until '%s ccache move' brings them", was, is, layout.Current().Tool)
	switch was {
	case is:
		return nil
	case StorageMemory:
		text = fmt.Sprintf("was '%s' and will be '%s': sssd_kcm serves from memory until it ends, and the caches end with it", was, is)
	}
	return []responder.Remark{{Section: section, Key: key, Text: text}}
}

// Call answers the methods of the responder's interface.
func (s *Server) Call(ctx context.Context, method string, args []any) ([]any, error) {
	if results, ok, err := s.upkeep(ctx, method, args); ok {
		return results, err
	}
	if results, ok, err := s.inspection(ctx, method, args); ok {
		return results, err
	}
	if results, ok, err := s.usage(method, args); ok {
		return results, err
	}
	if results, ok, err := s.travel(ctx, method, args); ok {
		return results, err
	}
	if method == importCaches {
		r, err := s.importAll(ctx, args[0].(bool))
		return r.results(), err
	}
	from := args[0].(string)
	if method == ownersIn {
		uids, err := s.ownersIn(ctx, from)
		return []any{uids}, err
	}
	m, err := s.move(ctx, from, args[1].(uint32))
	return []any{m.moved, m.dropped, m.damaged}, err
}

// elsewhere opens a storage other than the one in use.
func (s *Server) elsewhere(from string) (Store, error) {
	switch {
	case from != StorageSecrets && from != StorageSecdb:
		return nil, sbus.Errorf(sbus.ErrorInvalidArgs, "caches can be moved from %s and %s, not from '%s'", StorageSecrets, StorageSecdb, from)
	case from == s.users.storage:
		return nil, sbus.Errorf(sbus.ErrorInvalidArgs,
			"'%s' is the ccache_storage in use; put the new one into force first, by '%s restart'", from, layout.Current().Tool)
	}
	return s.stores.OpenExisting(from)
}

// ownersIn returns who has records in another storage.
func (s *Server) ownersIn(ctx context.Context, from string) ([]uint32, error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	store, err := s.elsewhere(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer func() { _ = store.Close() }()
	owners, err := store.Owners(ctx)
	slices.Sort(owners)
	return owners, err
}

// logLeftBehind logs that caches are in a database of this responder that is
// not in use. The secrets service is not asked: that would start it.
func (s *Server) logLeftBehind(ctx context.Context) {
	if s.users.storage == StorageSecdb {
		return
	}
	owners, err := s.ownersIn(ctx, StorageSecdb)
	if err != nil {
		s.users.log.Warn("it is not known whether caches were left behind", "storage", StorageSecdb, "error", err)
	} else if len(owners) > 0 {
		s.users.log.Warn("caches of another storage are out of sight; '"+layout.Current().Tool+" ccache move' brings them", "storage", StorageSecdb, "users", len(owners))
	}
}

// moved is what became of the caches of one user.
type moved struct {
	moved   uint32 // brought into the storage in use
	dropped uint32 // because the user has a newer cache of the name
	damaged uint32 // records that were left where they are
}

// move brings the caches of one user from another storage into the one in use,
// and removes them there once they are durable here. It may be interrupted at
// any time and begun again: a cache that is in both has been moved before, or
// is older than that in use. No limit refuses what the user had already.
func (s *Server) move(ctx context.Context, from string, uid uint32) (m moved, err error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	store, err := s.elsewhere(from)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	} else if err != nil {
		return m, err
	}
	defer func() { _ = store.Close() }()
	old, removal, damaged, err := readElsewhere(ctx, store, uid)
	if err != nil {
		return m, err
	}
	m.damaged = uint32(damaged)
	err = s.users.of(uid).apply(ctx, func(e *edit) error {
		m.moved, m.dropped = e.takeOver(old)
		return nil
	})
	if err == nil && len(removal) > 0 {
		err = store.Commit(ctx, uid, removal)
	}
	if err != nil {
		return m, fmt.Errorf("uid %d: %w", uid, err)
	}
	s.users.log.Info("caches are moved", "uid", uid, "from", from, "to", s.users.storage,
		"moved", m.moved, "dropped", m.dropped, "damaged", m.damaged)
	return m, nil
}

// readElsewhere returns a user's state in another storage, the change that
// removes it there, and how many records cannot be read. These stay.
func readElsewhere(ctx context.Context, store Store, uid uint32) (old *state, removal map[string][]byte, damaged int, err error) {
	records := newLoader()
	removal = map[string][]byte{}
	err = store.Load(ctx, uid, func(key string, record []byte) error {
		removal[key] = nil
		return records.add(key, record)
	})
	if err != nil {
		return nil, nil, 0, err
	}
	old, unread := records.finish()
	old.uid = uid
	for _, d := range unread {
		delete(removal, d.key)
	}
	return old, removal, len(unread), nil
}

// takeOver adds the caches of an older state behind all others, but for those
// whose name or UUID is in use. If the user had none, the default is taken over
// as well.
func (e *edit) takeOver(old *state) (moved, dropped uint32) {
	alone := len(e.caches) == 0
	for _, c := range old.caches {
		if e.byID(c.id) != nil || e.byName([]byte(c.name)) != nil {
			dropped++
			continue
		}
		next := c.copy()
		next.damaged = nil
		next.seq = e.nextCache
		e.nextCache++
		for _, entry := range next.entries {
			e.records[credentialKey(next.id, entry.seq)] = entry.record
		}
		e.caches = append(slices.Clip(e.caches), next)
		e.header(next)
		e.notify(created, next)
		moved++
	}
	if alone && old.preferred != (protocol.UUID{}) && e.byID(old.preferred) != nil {
		e.setDefault(old.preferred, old.previous)
	}
	if e.imported == nil && old.imported != nil {
		e.imported = old.imported
		e.records[importedKey] = old.imported
	}
	return moved, dropped
}
