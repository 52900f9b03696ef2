package simulation

import (
	"context"
	"errors"
	"os"

	"gosssd/secrets/vault"
)

// files is the medium of the product: a vault. After a crash the next process
// opens a copy of its files as they were, while the vault that was open goes on
// with files that nobody will see.
type files struct {
	base string // the directories of all processes, one after the other
	dir  string
	hive *vault.Hive
}

func (f *files) open() (err error) {
	if f.dir, err = os.MkdirTemp(f.base, "vault"); err != nil {
		return err
	}
	return f.reopen()
}

func (f *files) reopen() (err error) {
	f.hive, err = vault.OpenHive(f.dir, "kcm", vault.Options{File: "kcm.db", OwnerUID: uint32(os.Geteuid())})
	return err
}

func (f *files) owners() ([]uint32, error) { return f.hive.Owners(context.Background()) }

func (f *files) load(uid uint32) (map[string][]byte, error) {
	all := map[string][]byte{}
	err := f.hive.Each(context.Background(), uid, func(key string, value []byte) error {
		all[key] = value
		return nil
	})
	return all, err
}

func (f *files) apply(uid uint32, changes map[string][]byte) error {
	return f.hive.Commit(context.Background(), uid, changes)
}

func (f *files) crash() error {
	before, old := f.dir, f.hive
	var err error
	if f.dir, err = os.MkdirTemp(f.base, "vault"); err != nil {
		return err
	}
	if err := copyFiles(before, f.dir); err != nil {
		return err
	}
	return errors.Join(old.Close(), os.RemoveAll(before), f.reopen())
}

func (f *files) close() error { return errors.Join(f.hive.Close(), os.RemoveAll(f.dir)) }
