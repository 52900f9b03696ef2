package main

import (
	"context"

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
