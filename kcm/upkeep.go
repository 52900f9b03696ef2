package kcm

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"gosssd/sbus"
)

// Vault is a Store that keeps its records sealed in files of this process. What
// its files need now and then is asked for over the bus, by sssctl.
type Vault interface {
	Store
	// Rekey seals everything under a new master key. When ctx ends before it
	// is done, the next call goes on.
	Rekey(ctx context.Context) error
	// Damaged returns the owners whose records cannot be read as a whole, with
	// what is wrong.
	Damaged(ctx context.Context) (map[uint32]string, error)
	// Repair keeps the records of an owner that can be read and deletes the
	// others.
	Repair(ctx context.Context, uid uint32) (kept, deleted int, err error)
	// Discard deletes all records of an owner, also those that cannot be read.
	Discard(ctx context.Context, uid uint32) error
}

// The methods of the bus for the upkeep of the storage secdb, whether it is in
// use or not. Each returns first whether there is one.
const (
	rekeyCaches   = "RekeyCaches"
	damagedCaches = "DamagedCaches"
	repairCaches  = "RepairCaches"
	discardCaches = "DiscardCaches"
)

func upkeepMethods() []sbus.Method {
	present, uid := sbus.Arg{Name: "present", Type: "b"}, sbus.Arg{Name: "uid", Type: "u"}
	return []sbus.Method{
		{Name: rekeyCaches, Out: []sbus.Arg{present, {Name: "done", Type: "b"}}},
		{Name: damagedCaches, Out: []sbus.Arg{present, {Name: "uids", Type: "au"}, {Name: "reasons", Type: "as"}}},
		{Name: repairCaches, In: []sbus.Arg{uid}, Out: []sbus.Arg{present, {Name: "kept", Type: "u"}, {Name: "deleted", Type: "u"}}},
		{Name: discardCaches, In: []sbus.Arg{uid}, Out: []sbus.Arg{present}},
	}
}

// upkeep answers those methods; ok is false for all others.
func (s *Server) upkeep(ctx context.Context, method string, args []any) (results []any, ok bool, err error) {
	switch method {
	case rekeyCaches:
		var done bool
		present, err := s.withVault(func(v Vault) (err error) {
			done, err = rekey(ctx, v)
			return err
		})
		return []any{present, done}, true, err
	case damagedCaches:
		uids, reasons := []uint32{}, []string{}
		present, err := s.withVault(func(v Vault) error {
			damaged, err := v.Damaged(ctx)
			uids = slices.Sorted(maps.Keys(damaged))
			for _, uid := range uids {
				reasons = append(reasons, damaged[uid])
			}
			return err
		})
		return []any{present, uids, reasons}, true, err
	case repairCaches:
		var kept, deleted int
		present, err := s.mend(ctx, args[0].(uint32), func(v Vault, uid uint32) (err error) {
			kept, deleted, err = v.Repair(ctx, uid)
			return err
		})
		return []any{present, uint32(kept), uint32(deleted)}, true, err
	case discardCaches:
		present, err := s.mend(ctx, args[0].(uint32), func(v Vault, uid uint32) error { return v.Discard(ctx, uid) })
		return []any{present}, true, err
	}
	return nil, false, nil
}

// rekeyTime bounds one call of rekeyCaches: other calls of the monitor, its
// pings among them, wait for it.
const rekeyTime = time.Second

// rekey reports whether everything is sealed under the new key.
func rekey(ctx context.Context, v Vault) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, rekeyTime)
	defer cancel()
	err = v.Rekey(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return false, nil
	}
	return err == nil, err
}

// withVault calls do with the storage secdb; present is false if there is none.
func (s *Server) withVault(do func(Vault) error) (present bool, err error) {
	s.moving.Lock()
	defer s.moving.Unlock()
	var store Store
	if s.users.storage == StorageSecdb {
		store, err = s.users.store()
	} else if store, err = s.stores.OpenExisting(StorageSecdb); err == nil {
		defer func() { _ = store.Close() }()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	v, ok := store.(Vault)
	if !ok {
		return false, nil
	}
	return true, do(v)
}

// mend changes the records of a user behind his collection, which is loaded
// anew if it is kept here.
func (s *Server) mend(ctx context.Context, uid uint32, change func(Vault, uint32) error) (present bool, err error) {
	return s.withVault(func(v Vault) error {
		if s.users.storage != StorageSecdb {
			return change(v, uid)
		}
		c := s.users.of(uid)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := change(v, uid); err != nil {
			return err
		}
		c.publish(nil)
		_, err := c.load(ctx)
		return err
	})
}
