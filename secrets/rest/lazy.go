package rest

import (
	"fmt"
	"sync"
	"time"

	"gosssd/secrets/vault"
)

// holdOff is how long a failure to open the vault is remembered, so that
// clients that keep asking do not keep the service trying.
const holdOff = time.Second

// lazyVault opens the vault when it is first needed, and again after a failure.
type lazyVault struct {
	open    func(dir string, opts vault.Options) (*vault.Vault, error)
	dir     string
	options vault.Options

	mu     sync.Mutex
	vault  *vault.Vault
	err    error
	failed time.Time
}

func (l *lazyVault) get() (*vault.Vault, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.vault != nil {
		return l.vault, nil
	}
	if l.err != nil && time.Since(l.failed) < holdOff {
		return nil, l.err
	}
	v, err := l.open(l.dir, l.options)
	if err != nil {
		l.err, l.failed = fmt.Errorf("open the vault: %w", err), time.Now()
		return nil, l.err
	}
	l.vault, l.err = v, nil
	return v, nil
}

// opened returns the vault if it is open, or nil.
func (l *lazyVault) opened() *vault.Vault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.vault
}

func (l *lazyVault) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.vault == nil {
		return nil
	}
	return l.vault.Close()
}
