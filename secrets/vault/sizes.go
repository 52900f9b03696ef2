package vault

import "gosssd/secrets/vault/engine"

// Sizes tell how much room a vault takes and has on its disk.
type Sizes = engine.Sizes

// Sizes returns how large the files are now, and what is free beside them.
func (v *Vault) Sizes() (sizes Sizes, err error) {
	err = v.use(func(f *file) (err error) {
		sizes, err = f.store.Sizes()
		return err
	})
	return sizes, err
}

// Sizes returns those of the vault that the hive is in.
func (h *Hive) Sizes() (Sizes, error) { return h.vault.Sizes() }
