package kcm

import (
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// purged is what was removed of a user without a request for it. It is logged
// and counted once the change is committed.
type purged struct {
	why         string // "expired", or the limit that asked for room
	caches      int
	credentials int // of caches that stay
	principals  []string
}

// cache notes that c goes, or is emptied.
func (p *purged) cache(c *cache) {
	p.caches++
	p.principal(c)
}

// tickets notes that some credentials of c go.
func (p *purged) tickets(c *cache, n int) {
	p.credentials += n
	p.principal(c)
}

func (p *purged) principal(c *cache) {
	if _, principal := c.texts(); principal != "" && !slices.Contains(p.principals, principal) {
		p.principals = append(p.principals, principal)
	}
}

// note adds what a purge has removed to what commit tells.
func (e *edit) note(gone purged) {
	if gone.caches > 0 || gone.credentials > 0 {
		e.purged = append(e.purged, gone)
	}
}

// logPurged logs and counts what was removed of a user.
func (u *users) logPurged(uid uint32, gone purged) {
	u.purgedCaches.Add(uint64(gone.caches))
	u.purgedCredentials.Add(uint64(gone.credentials))
	if u.log.On(hclog.Info) {
		u.log.Info("purge", "uid", uid, "why", gone.why, "caches", gone.caches, "credentials", gone.credentials,
			"principals", strings.Join(gone.principals, ","))
	}
}
