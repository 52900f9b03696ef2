// Package rest is the secrets service: the HTTP interface of sssd-secrets(5)
// over a Unix socket, in front of the encrypted vault or of a Custodia server.
package rest

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"gosssd/confdb"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/secrets"
	"gosssd/secrets/measure"
	"gosssd/secrets/quota"
	"gosssd/secrets/vault"
)

// Database is the file of the vault.
const Database = "secrets.db"

// New makes the constructor of the service. open opens its vault: vault.Open,
// but for tests. A vault that cannot be opened is no reason not to start:
// requests are answered with 500 and the log says why, until it can be.
func New(open func(dir string, opts vault.Options) (*vault.Vault, error)) responder.Constructor {
	return func(svc *responder.Service) (responder.Handler, error) {
		s := &service{
			log:      svc.Log,
			handover: newListener(),
			local: &local{fences: &fences{}, vault: &lazyVault{
				open:    open,
				dir:     svc.Root.Path(responder.SecretsDir),
				options: options(),
			}},
			served:    make(chan error, 1),
			memory:    responder.NewBudget(memoryTotal, memoryShare),
			kcmMemory: responder.NewBudget(kcmMemory, kcmMemory),
			spare:     responder.NewSpare(),
		}
		s.disk.Watch(&s.local.vault.options)
		s.settings.Store(s.resolve(svc.Conf))
		if _, err := s.local.vault.get(); err != nil {
			svc.Log.Error("the vault cannot be opened, requests will fail", "error", err)
		}
		s.start()
		return s, nil
	}
}

func options() vault.Options {
	return vault.Options{
		File:       Database,
		OwnerUID:   uint32(os.Geteuid()),
		Credential: vault.Credential("secrets.mkey"),
		Rules:      rules(),
	}
}

// rules tell how the records of each hive add up.
func rules() map[string]vault.Rule {
	return map[string]vault.Rule{usersHive: quota.Users, kcmHive: quota.KCM}
}

// service is the working part of the responder.
type service struct {
	log      *log.Logger
	settings atomic.Pointer[settings]
	local    *local
	handover *listener // gives accepted connections to server
	server   *http.Server
	served   chan error // of server.Serve

	memory, kcmMemory *responder.Budget
	spare             *responder.Spare
	stop              context.CancelFunc // of background
	background        sync.WaitGroup

	disk     measure.Disk
	requests atomic.Uint64 // that have come, answered or not
	answered answered
	dropped  atomic.Uint64 // clients with a request that was not answered
}

var _ responder.Handler = (*service)(nil)

// settings is one generation of the configuration.
type settings struct {
	users, kcm secrets.Quota
	proxies    map[uint32]provider
}

// Reload takes over quotas and providers; requests under way end with the old
// ones.
func (s *service) Reload(conf *confdb.Snapshot) { s.settings.Store(s.resolve(conf)) }

// MayExit is always true: an acknowledged change is on disk.
func (s *service) MayExit() bool { return true }

// Close ends the service after the last client is gone.
func (s *service) Close() error {
	s.stop()
	s.background.Wait()
	err := s.server.Shutdown(context.Background())
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, s.local.vault.close())
}
