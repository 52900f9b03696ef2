// Command sssd_kcm is the responder that serves Kerberos credential caches.
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"gosssd/kcm"
	"gosssd/responder"
	"gosssd/secrets"
	"gosssd/secrets/client"
	"gosssd/secrets/vault"
)

func main() { os.Exit(responder.Main(kcm.Descriptor(), construct)) }

func construct(s *responder.Service) (responder.Handler, error) {
	open := func(storage string) (kcm.Store, error) { return openStore(s.Root, storage) }
	return kcm.New(open, time.Now, rand.Reader)(s)
}

// openStore returns what [kcm] ccache_storage names.
func openStore(root responder.Root, storage string) (kcm.Store, error) {
	switch storage {
	case "secrets":
		return client.New(root.Path(secrets.Descriptor().Socket)), nil
	case "secdb":
		options := vault.Options{File: "kcm.db", OwnerUID: uint32(os.Getuid()), Credential: vault.Credential("kcm.mkey")}
		return vault.OpenHive(root.Path(responder.SecretsDir), "kcm", options)
	case "memory":
		return kcm.NewMemory(), nil
	}
	return nil, fmt.Errorf("there is no storage %q", storage)
}
