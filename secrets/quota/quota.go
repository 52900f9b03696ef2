// Package quota limits what users keep in the hives of the vault: it knows how
// the records of a hive add up to secrets, and what a change may make of them.
package quota

import (
	"errors"

	"gosssd/secrets"
)

// Why a change is refused.
var (
	ErrAllSecrets     = errors.New("all users together have too many secrets")
	ErrUserSecrets    = errors.New("the user has too many secrets")
	ErrUserContainers = errors.New("the user has too many containers")
	ErrTooLarge       = errors.New("the secret is too large")
)

// View is the state that a change would be made in: one user's records and the
// sums of their hive.
type View interface {
	Has(key string) bool
	Size(key string) int64 // bytes of a record's value, 0 if there is none
	Counted() int          // secrets of the user
	HiveCounted() int      // secrets of all users
	UnitSize(unit string) (int64, error)
}

// Check refuses changes that would make more, or larger, secrets than a quota
// allows, or more containers than secrets. Changes that make nothing more are
// never refused, also where a quota was lowered below what there is. The rule
// is that of the hive.
func Check(limits secrets.Quota, view View, rule func(key string) (unit string, counted bool), changes map[string][]byte) error {
	more := 0
	grown := map[string]int64{}
	for key, value := range changes {
		unit, counted := rule(key)
		had := view.Has(key)
		switch {
		case counted && !had && value != nil:
			more++
		case counted && had && value == nil:
			more--
		}
		grown[unit] += int64(len(value)) - view.Size(key)
	}
	switch {
	case more > 0 && limits.Secrets > 0 && view.HiveCounted()+more > limits.Secrets:
		return ErrAllSecrets
	case more > 0 && limits.UIDSecrets > 0 && view.Counted()+more > limits.UIDSecrets:
		return ErrUserSecrets
	}
	return checkSizes(limits, view, grown)
}

// checkSizes refuses units that have grown larger than they may be.
func checkSizes(limits secrets.Quota, view View, grown map[string]int64) error {
	for unit, bytes := range grown {
		if bytes <= 0 {
			continue
		}
		limit, refused := limits.PayloadLimit(), ErrTooLarge
		if unit == containers {
			limit, refused = int64(limits.UIDSecrets)*ContainerSize, ErrUserContainers
		}
		if limit == 0 {
			continue
		}
		size, err := view.UnitSize(unit)
		if err != nil {
			return err
		}
		if size+bytes > limit {
			return refused
		}
	}
	return nil
}
