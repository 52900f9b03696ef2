// Command sssd_kcm is the responder that serves Kerberos credential caches.
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"gosssd/kcm"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/secrets"
	"gosssd/secrets/client"
	"gosssd/secrets/measure"
	"gosssd/secrets/vault"
)

func main() { os.Exit(responder.Main(kcm.Descriptor(), construct)) }

func construct(s *responder.Service) (responder.Handler, error) {
	stores := kcm.Stores{
		Open:         func(storage string) (kcm.Store, error) { return openStore(s.Root, storage) },
		OpenExisting: func(storage string) (kcm.Store, error) { return openExisting(s.Root, storage) },
		SSSD:         func() ([]byte, error) { return os.ReadFile(s.Root.Path(responder.SecretsDir + "/secrets.ldb")) },
		Group:        group,
	}
	if !kcm.UsesNetwork(s.Conf, s.Root) {
		if err := linux.GiveUpInternet(); err != nil {
			s.Log.Warn("sockets of the Internet cannot be given up", "error", err)
		}
	}
	realms := openRealms(s.Root, s.Log)
	return kcm.New(stores, realms.Renew, realms, openSessions, time.Now, rand.Reader)(s)
}

// openStore returns what [kcm] ccache_storage names.
func openStore(root responder.Root, storage string) (kcm.Store, error) {
	switch storage {
	case "secrets":
		return client.New(root.Path(secrets.Descriptor().Socket)), nil
	case "secdb":
		options := vault.Options{File: "kcm.db", OwnerUID: uint32(os.Getuid()), Credential: vault.Credential("kcm.mkey")}
		disk := &measure.Disk{}
		disk.Watch(&options)
		h, err := vault.OpenHive(root.Path(responder.SecretsDir), "kcm", options)
		return hive{h, disk}, err
	case "memory":
		return kcm.NewMemory(), nil
	}
	return nil, fmt.Errorf("there is no storage %q", storage)
}

// openExisting returns a storage that caches are taken from. It makes none
// where none is.
func openExisting(root responder.Root, storage string) (kcm.Store, error) {
	file := map[string]string{"secrets": "secrets.db", "secdb": "kcm.db"}[storage]
	if _, err := os.Stat(root.Path(responder.SecretsDir + "/" + file)); err != nil {
		return nil, err
	}
	return openStore(root, storage)
}

// group returns the group that a user has in /etc/passwd, or none. Nothing
// depends on it.
func group(uid uint32) uint32 {
	if account, err := user.LookupId(fmt.Sprint(uid)); err == nil {
		if gid, err := strconv.ParseUint(account.Gid, 10, 32); err == nil {
			return uint32(gid)
		}
	}
	return kcm.NoGID
}
