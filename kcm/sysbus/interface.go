// Package sysbus shows users their own credential caches on the system bus, and
// tells them when these change (org.gosssd.Kcm1). It is read only, and shows
// nothing of a key or ticket. Whose caches a caller sees is decided by the uid
// that the bus daemon has of the caller's connection; signals go to single
// connections, never to all.
package sysbus

import (
	"context"
	_ "embed" // the interface

	"github.com/godbus/dbus/v5"
)

// What is on the bus.
const (
	Name      = "org.gosssd.Kcm1"
	Interface = "org.gosssd.Kcm1"
	Path      = dbus.ObjectPath("/org/gosssd/Kcm1")
)

// interfaceVersion is what the property Version says. Methods, signals and entries
// of a cache may be added under the same one.
const interfaceVersion uint32 = 1

// The signals. The first four carry the cache, the last the name of the cache that
// is the default now, which is "" where there is none.
const (
	Created        = "CacheCreated"
	Changed        = "CacheChanged"
	Renewed        = "CacheRenewed"
	Destroyed      = "CacheDestroyed"
	DefaultChanged = "DefaultChanged"
)

//go:embed org.gosssd.Kcm1.xml
var interfaceXML string

// Cache is what is shown of a credential cache. Times are seconds since 1970 by
// this machine's clock; 0 is none.
type Cache struct {
	Name, Principal  string
	Default          bool
	Start, End       int64 // of its ticket-granting ticket
	RenewUntil       int64 // of the same; 0 if it cannot be renewed
	Credentials      int   // tickets, without entries of configuration
	NextRenewal      int64 // when the server renews it; 0 if it does not
	LastRenewal      int64 // when the server tried it last
	RenewalError     string
	RenewalErrorCode int32 // of the KDC's refusal
}

// entries is the form of a cache on the bus, to which more may be added.
func (c Cache) entries() map[string]dbus.Variant {
	return map[string]dbus.Variant{
		"name": dbus.MakeVariant(c.Name), "principal": dbus.MakeVariant(c.Principal), "default": dbus.MakeVariant(c.Default),
		"start": dbus.MakeVariant(c.Start), "end": dbus.MakeVariant(c.End), "renew_until": dbus.MakeVariant(c.RenewUntil),
		"credentials":  dbus.MakeVariant(uint32(c.Credentials)), //nolint:gosec // they are fewer
		"next_renewal": dbus.MakeVariant(c.NextRenewal), "last_renewal": dbus.MakeVariant(c.LastRenewal),
		"renewal_error": dbus.MakeVariant(c.RenewalError), "renewal_error_code": dbus.MakeVariant(c.RenewalErrorCode),
	}
}

// Caches is asked for the caches of one user.
type Caches func(ctx context.Context, uid uint32) ([]Cache, error)
