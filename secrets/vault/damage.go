package vault

import (
	"bytes"
	"context"
	"errors"
)

// Damaged returns the users of the hive that have damaged records, with what is
// wrong. It reads every record.
func (h *Hive) Damaged(ctx context.Context) (map[uint32]*OwnerError, error) {
	owners, err := h.Owners(ctx)
	if err != nil {
		return nil, err
	}
	damaged := map[uint32]*OwnerError{}
	for _, uid := range owners {
		err := h.Each(ctx, uid, func(_ string, value []byte) error {
			clear(value)
			return nil
		})
		var wrong *OwnerError
		switch {
		case errors.As(err, &wrong):
			damaged[uid] = wrong
		case err != nil && !errors.Is(err, ErrChanged): // what changes is checked by who changes it
			return nil, err
		}
	}
	return damaged, nil
}

// Repair makes one user's records consistent again: those that are as they were
// written are kept, the others are deleted, and those that are missing are
// given up. It returns how many were kept and how many deleted; records that
// were right are left alone.
func (h *Hive) Repair(ctx context.Context, uid uint32) (kept, deleted int, err error) {
	err = h.vault.change(ctx, 0, func(b *batch) (refused, failed error) {
		kept, deleted, failed = b.repair(ownerID{h.name, uid}, h.rule)
		return nil, failed
	})
	return kept, deleted, err
}

// repair rebuilds the summary of an owner from the records that open.
func (b *batch) repair(id ownerID, rule Rule) (kept, deleted int, err error) {
	if o := b.owners[id]; o != nil { // changed earlier in this batch
		if err := b.finishOwner(o); err != nil {
			return 0, 0, err
		}
		delete(b.owners, id)
	}
	before, damaged := b.summary(id)
	right := summary{}
	var gone [][]byte
	err = b.each(id, func(name, sealed []byte) error {
		key, value, err := b.open(id, name, sealed)
		clear(value)
		if err != nil || !bytes.Equal(b.file.names.of(id.hive, id.uid, key), name) {
			gone = append(gone, bytes.Clone(name))
			return nil
		}
		if _, counted := rule(key); counted {
			right.counted++
		}
		return b.add(&right, id, name, sealed)
	})
	if err != nil {
		return 0, 0, err
	}
	kept, deleted = int(right.records), len(gone)
	if damaged == nil && right == before && len(gone) == 0 {
		return kept, 0, nil
	}
	for _, name := range gone {
		b.set(id, name, nil)
	}
	b.made = true
	delete(b.file.cache, id)
	t := b.total(id.hive)
	t.counted += right.counted
	if damaged == nil {
		t.counted -= before.counted
	}
	b.totals[id.hive] = t
	if right.records == 0 {
		b.enlist(id, false)
	}
	return kept, deleted, b.writeSummary(id, right)
}
