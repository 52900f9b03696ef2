package vault

import (
	"context"
	"errors"
	"fmt"
)

// Limits of one record. A record is held in memory whole while it is sealed.
const (
	MaxKey   = 4096
	MaxValue = 1 << 30
)

// Hive is the records of one hive. It is safe for concurrent use.
type Hive struct {
	vault *Vault
	name  string
	rule  Rule
	owns  bool // the vault was opened for this hive
}

// Owners lists the users that have records.
func (h *Hive) Owners(ctx context.Context) ([]uint32, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var owners []uint32
	err := h.vault.read(func(s *snapshot) error {
		owners = s.owners(h.name)
		return nil
	})
	return owners, err
}

// Get returns one record; nil means that there is none.
func (h *Hive) Get(ctx context.Context, uid uint32, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var value []byte
	err := h.vault.read(func(s *snapshot) (err error) {
		value, err = s.get(ownerID{h.name, uid}, key)
		return err
	})
	return value, err
}

// Keys returns the keys of one user's records, in no order.
func (h *Hive) Keys(ctx context.Context, uid uint32) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var keys []string
	err := h.vault.read(func(s *snapshot) error {
		keys = keys[:0]
		return h.each(s, uid, func(key string, value []byte) {
			clear(value)
			keys = append(keys, key)
		})
	})
	return keys, err
}

func (h *Hive) each(s *snapshot, uid uint32, fn func(key string, value []byte)) error {
	id := ownerID{h.name, uid}
	expected, err := s.summary(id)
	if err != nil {
		return err
	}
	return s.all(id, expected, fn)
}

// Commit makes all changes to the records of one user, or none; a nil value
// deletes. When it returns nil they are on disk. If ctx has ended none is made;
// once the changes wait to be written ctx has no effect.
func (h *Hive) Commit(ctx context.Context, uid uint32, changes map[string][]byte) error {
	return h.CommitIf(ctx, uid, changes, nil)
}

// CommitIf is Commit under a condition: check sees the state the changes would
// be made in, and the changes are made only if it returns nil. Its error is
// returned as it is.
func (h *Hive) CommitIf(ctx context.Context, uid uint32, changes map[string][]byte, check func(*View) error) error {
	bytes := 0
	for key, value := range changes {
		switch {
		case key == "":
			return errors.New("a record needs a key")
		case len(key) > MaxKey:
			return &SizeError{What: fmt.Sprintf("a key of %d bytes", len(key)), Limit: MaxKey}
		case len(value) > MaxValue:
			return &SizeError{What: fmt.Sprintf("a value of %d bytes", len(value)), Limit: MaxValue}
		}
		bytes += len(key) + len(value)
	}
	id := ownerID{h.name, uid}
	sealed, err := h.vault.seal(id, changes, h.rule)
	if err != nil {
		return err
	}
	return h.vault.change(ctx, bytes, func(b *batch) (refused, failed error) {
		o, err := b.owner(id)
		if err != nil {
			return err, nil
		}
		if check != nil {
			if err := check(&View{batch: b, owner: o, rule: h.rule}); err != nil {
				return err, nil
			}
		}
		for _, r := range sealed {
			if err := b.put(o, r); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
}

// Discard deletes every record of one user, also those that are damaged.
func (h *Hive) Discard(ctx context.Context, uid uint32) error {
	return h.vault.change(ctx, 0, func(b *batch) (refused, failed error) {
		return nil, b.discard(ownerID{h.name, uid})
	})
}

// Rekey seals every record of the vault again; see Vault.Rekey.
func (h *Hive) Rekey(ctx context.Context) error { return h.vault.Rekey(ctx) }

// Close closes the vault if it was opened for this hive.
func (h *Hive) Close() error {
	if !h.owns {
		return nil
	}
	return h.vault.Close()
}
