package main

import (
	"context"
	"os"
	"time"

	"gosssd/kcm/protocol"
	"gosssd/kcm/renewal"
	"gosssd/kdc"
	"gosssd/kdc/profile"
	"gosssd/responder"
	"gosssd/responder/log"
)

var _ interface{ KDCCode() int32 } = (*kdc.Refused)(nil) // as renewal asks for

// askKDC returns how tickets are renewed: as the krb5.conf below the root says.
// No other process of this responder runs when it is called.
func askKDC(root responder.Root, logger *log.Logger) renewal.KDC {
	files := profile.Paths(os.Getenv)
	if os.Getenv("KRB5_CONFIG") == "" {
		files = []string{root.Path(files[0])}
	}
	realms := &kdc.Realms{Files: files, KDCInfo: root.Path(kdc.SSSDsKDCInfo), KinitDir: root.Path("/run")}
	if err := realms.Tidy(); err != nil {
		logger.Warn("tickets that were lent to kinit are left behind", "error", err)
	}
	return func(ctx context.Context, tgt protocol.Credential, offset time.Duration) (protocol.Credential, error) {
		return realms.Renew(ctx, tgt, offset)
	}
}
