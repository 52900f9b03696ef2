package main

import (
	"context"

	"gosssd/kcm"
	"gosssd/secrets/client"
	"gosssd/secrets/vault"
)

// hive and service make the stores that read a user's records as a whole show
// them one by one.
type hive struct{ *vault.Hive }

func (h hive) Load(ctx context.Context, uid uint32, each func(key string, value []byte) error) error {
	records, err := h.Hive.Load(ctx, uid)
	return showAll(records, err, each)
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

var (
	_ kcm.Vault = hive{}
	_ kcm.Store = service{}
)

type service struct{ *client.Client }

func (s service) Load(ctx context.Context, uid uint32, each func(key string, value []byte) error) error {
	records, err := s.Client.Load(ctx, uid)
	return showAll(records, err, each)
}

func (service) Volatile() bool { return false }

func showAll(records map[string][]byte, err error, each func(key string, value []byte) error) error {
	for key, value := range records {
		if err == nil {
			err = each(key, value)
		}
	}
	return err
}
