package main

import (
	"context"
	"os"
	"time"

	"gosssd/kcm"
	"gosssd/kcm/protocol"
	"gosssd/kdc"
	"gosssd/kdc/profile"
	"gosssd/responder"
	"gosssd/responder/log"
)

var _ interface{ KDCCode() int32 } = (*kdc.Refused)(nil) // as renewal and kcm ask for

// openRealms returns the realms that the krb5.conf below the root names. No other
// process of this responder runs when it is called.
func openRealms(root responder.Root, logger *log.Logger) realms {
	files := profile.Paths(os.Getenv)
	if os.Getenv("KRB5_CONFIG") == "" {
		files = []string{root.Path(files[0])}
	}
	r := realms{&kdc.Realms{Files: files, KDCInfo: root.Path(kdc.SSSDsKDCInfo), KinitDir: root.Path("/run")}}
	if err := r.Tidy(); err != nil {
		logger.Warn("tickets that were lent to kinit are left behind", "error", err)
	}
	return r
}

// realms are the KDCs as kcm wants them.
type realms struct{ *kdc.Realms }

var _ kcm.Tickets = realms{}

func (r realms) Ticket(ctx context.Context, tgt protocol.Credential, want kcm.Wanted, offset time.Duration) ([]protocol.Credential, error) {
	return r.Realms.Ticket(ctx, tgt, kdc.Wanted(want), offset)
}
