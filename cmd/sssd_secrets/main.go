// Command sssd_secrets is the responder that keeps secrets encrypted on disk.
package main

import (
	"os"

	"gosssd/responder"
	"gosssd/secrets"
	"gosssd/secrets/rest"
	"gosssd/secrets/vault"
)

func main() {
	os.Exit(responder.Main(secrets.Descriptor(), rest.New(vault.Open)))
}
