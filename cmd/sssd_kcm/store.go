package main

import (
	"context"
	"errors"

	"gosssd/kcm"
	"gosssd/responder/metric"
	"gosssd/secrets/client"
	"gosssd/secrets/measure"
	"gosssd/secrets/vault"
)

var (
	_ kcm.Vault    = hive{}
	_ kcm.Measured = hive{}
	_ kcm.Store    = (*client.Client)(nil)
)

// hive is a vault's hive as kcm wants it.
type hive struct {
	*vault.Hive
	disk *measure.Disk
}

// Metrics describes the vault.
func (h hive) Metrics() []metric.Family { return h.disk.Metrics("kcm", h.Hive) }

// Load reads the records again when they were changed meanwhile, as a rekey does
// without changing what they say.
func (h hive) Load(ctx context.Context, uid uint32, each func(key string, value []byte) error) error {
	type record struct {
		key   string
		value []byte
	}
	var records []record
	for {
		err := h.Each(ctx, uid, func(key string, value []byte) error {
			records = append(records, record{key, value})
			return nil
		})
		if err == nil {
			break
		}
		if !errors.Is(err, vault.ErrChanged) {
			return err
		}
		records = records[:0]
	}
	for _, r := range records {
		if err := each(r.key, r.value); err != nil {
			return err
		}
	}
	return nil
}

func (hive) Volatile() bool { return false }

// Damaged tells what is wrong in words.
func (h hive) Damaged(ctx context.Context) (map[uint32]string, error) {
	damaged, err := h.Hive.Damaged(ctx)
	reasons := map[uint32]string{}
	for uid, wrong := range damaged {
		reasons[uid] = wrong.What
	}
	return reasons, err
}
