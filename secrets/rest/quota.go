package rest

import (
	"gosssd/secrets"
	"gosssd/secrets/vault"
)

func ruleOf(hive string) vault.Rule {
	if hive == kcmHive {
		return kcmRule
	}
	return userRule
}

// checkQuota refuses changes that would make more, or larger, secrets than a
// quota allows. Changes that make nothing more are never refused, also where a
// quota was lowered below what there is.
func checkQuota(q secrets.Quota, view *vault.View, rule vault.Rule, changes map[string][]byte) error {
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
	case more > 0 && q.Secrets > 0 && view.HiveCounted()+more > q.Secrets:
		return errAllFull
	case more > 0 && q.UIDSecrets > 0 && view.Counted()+more > q.UIDSecrets:
		return errUserFull
	}
	for unit, bytes := range grown {
		if bytes <= 0 {
			continue
		}
		size, err := view.UnitSize(unit)
		if err != nil {
			return err
		}
		if size+bytes > q.PayloadLimit() {
			return errTooLarge
		}
	}
	return nil
}
