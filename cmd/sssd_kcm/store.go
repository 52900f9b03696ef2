package main

import (
	"context"

	"gosssd/kcm"
	"gosssd/secrets/client"
	"gosssd/secrets/vault"
)

var (
	_ kcm.Vault = hive{}
	_ kcm.Store = (*client.Client)(nil)
)

// hive is a vault's hive as kcm wants it.
type hive struct{ *vault.Hive }

func (h hive) Load(ctx context.Context, uid uint32, each func(key string, value []byte) error) error {
	return h.Each(ctx, uid, each)
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
