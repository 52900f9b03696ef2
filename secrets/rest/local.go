package rest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gosssd/secrets"
	"gosssd/secrets/quota"
	"gosssd/secrets/vault"
)

// local is the provider that keeps secrets in the vault.
type local struct {
	vault  *lazyVault
	fences *fences
	quota  secrets.Quota
}

// with returns the provider under a quota.
func (l *local) with(q secrets.Quota) *local {
	return &local{vault: l.vault, fences: l.fences, quota: q}
}

func (l *local) answer(w http.ResponseWriter, r *http.Request, at target) error {
	if err := checkQuery(r); err != nil {
		return err
	}
	v, err := l.vault.get()
	if err != nil {
		return err
	}
	hive := v.Hive(at.hive)
	form, err := contentType(r)
	if err != nil {
		return err
	}
	switch {
	case r.Method == http.MethodGet && at.dir:
		return l.list(w, r, hive, at, form)
	case at.allUsers:
		return errBadRequest
	case r.Method == http.MethodGet:
		return l.get(w, r, hive, at, form)
	case r.Method == http.MethodPut:
		err = l.put(w, r, hive, at, form)
	case r.Method == http.MethodPost:
		err = l.makeContainer(r.Context(), hive, at)
	case r.Method == http.MethodDelete:
		err = remove(r.Context(), hive, at)
	default:
		err = errBadRequest
	}
	if err == nil {
		answerStatus(w, http.StatusOK, success)
	}
	return err
}

// list answers with the names of all secrets below a container.
func (l *local) list(w http.ResponseWriter, r *http.Request, hive *vault.Hive, at target, form string) error {
	if err := takeMemory(r, listSize(l.quota)); err != nil {
		return err
	}
	keys, err := keysOf(r.Context(), hive, at)
	if err != nil {
		return err
	}
	prefix := at.container()
	if at.path == "" {
		prefix = ""
	}
	names := []string{}
	for _, key := range keys {
		name, inside := strings.CutPrefix(key, prefix)
		if inside && !quota.IsContainer(name) && name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return errNotFound
	}
	slices.Sort(names)
	body, err := encodeJSON(names)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, form, body)
	return nil
}

// keysOf returns the keys of a user, or those of every user with the uid in
// front.
func keysOf(ctx context.Context, hive *vault.Hive, at target) ([]string, error) {
	if !at.allUsers {
		return hive.Keys(ctx, at.uid)
	}
	owners, err := hive.Owners(ctx)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, uid := range owners {
		keys, err := hive.Keys(ctx, uid)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			all = append(all, strconv.FormatUint(uint64(uid), 10)+"/"+key)
		}
	}
	return all, nil
}

// get answers with one secret.
func (l *local) get(w http.ResponseWriter, r *http.Request, hive *vault.Hive, at target, form string) error {
	if err := takeMemory(r, bodyLimit(form, l.quota.PayloadLimit())); err != nil {
		return err
	}
	value, err := hive.Get(r.Context(), at.uid, at.path)
	if err != nil {
		return err
	}
	if value == nil {
		return errNotFound
	}
	defer clear(value)
	body, err := encodeSecret(form, value)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, form, body)
	clear(body)
	return nil
}

// put stores a secret under a name that is not taken.
func (l *local) put(w http.ResponseWriter, r *http.Request, hive *vault.Hive, at target, form string) error {
	body, err := readBody(w, r, bodyLimit(form, l.quota.PayloadLimit()))
	if err != nil {
		return err
	}
	defer clear(body)
	value, err := decodeSecret(form, body)
	if err != nil {
		return err
	}
	defer clear(value)
	if at.path == "" {
		return errBadRequest
	}
	changes := map[string][]byte{at.path: value}
	return hive.CommitIf(r.Context(), at.uid, changes, func(view *vault.View) error {
		if parent := at.parent(); parent != "" && !view.Has(parent) {
			return errNotFound
		}
		if view.Has(at.path) || view.Has(at.container()) {
			return errExists
		}
		return quota.Check(l.quota, view, rules()[at.hive], changes)
	})
}

// makeContainer makes an empty container.
func (l *local) makeContainer(ctx context.Context, hive *vault.Hive, at target) error {
	if !at.dir {
		return errBadRequest
	}
	changes := map[string][]byte{at.container(): quota.Container(time.Now())}
	return hive.CommitIf(ctx, at.uid, changes, func(view *vault.View) error {
		switch parent := at.parent(); {
		case parent != "" && !view.Has(parent):
			return errNotFound
		case l.quota.NestLevel > 0 && at.depth() > l.quota.NestLevel:
			return errTooDeep
		case view.Has(at.container()) || at.path != "" && view.Has(at.path):
			return errExists
		}
		return quota.Check(l.quota, view, rules()[at.hive], changes)
	})
}

// remove deletes a secret or an empty container.
func remove(ctx context.Context, hive *vault.Hive, at target) error {
	changes := map[string][]byte{at.container(): nil}
	if at.path != "" {
		changes[at.path] = nil
	}
	return hive.CommitIf(ctx, at.uid, changes, func(view *vault.View) error {
		switch {
		case at.path != "" && view.Has(at.path):
			return nil
		case !view.Has(at.container()):
			return errNotFound
		}
		keys, err := view.Keys()
		if err != nil {
			return err
		}
		for _, key := range keys {
			if key != at.container() && (at.path == "" || strings.HasPrefix(key, at.container())) {
				return errNotEmpty
			}
		}
		return nil
	})
}
