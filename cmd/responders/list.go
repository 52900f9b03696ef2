// Package responders is the literal list of all responders. The monitor, the
// loader of sssd.conf and sssctl read it; a new responder is a folder and a
// line here.
package responders

import (
	"gosssd/kcm"
	"gosssd/responder"
	"gosssd/secrets"
)

// List returns the descriptors of all responders; one that needs another
// stands behind it.
func List() []responder.Descriptor {
	return []responder.Descriptor{
		secrets.Descriptor(),
		kcm.Descriptor(),
	}
}
