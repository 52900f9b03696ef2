package rest

import (
	"context"
	"net/http"
	"strconv"

	"gosssd/secrets/records"
	"gosssd/secrets/vault"
)

// records answers the requests in which sssd_kcm reads and writes many records
// at once, and the one that discards a user's records, also damaged ones:
//
//	GET    /kcm/persistent/        the users that have records, as keys
//	GET    /kcm/persistent/<uid>/  all records of a user
//	PATCH  /kcm/persistent/<uid>/  changes, made all or none
//	DELETE …/                      everything of one user, in either hive
func (l *local) records(w http.ResponseWriter, r *http.Request, hive *vault.Hive, at place) error {
	switch {
	case r.Method == http.MethodDelete && at.dir && at.path == "" && !at.every:
		if err := hive.Discard(r.Context(), at.uid); err != nil {
			return err
		}
		answerStatus(w, r, http.StatusOK, success)
		return nil
	case at.hive != kcmHive || !at.dir || at.path != "":
		return errBadRequest
	case r.Method == http.MethodGet:
		body, err := l.recordsOf(r.Context(), hive, at, r.Header.Get(records.Fence))
		if err != nil {
			return err
		}
		answer(w, http.StatusOK, records.MediaType, body)
		clear(body)
		return nil
	case r.Method == http.MethodPatch && !at.every && isRecords(r):
		return l.patch(w, r, hive, at)
	}
	return errBadRequest
}

// recordsOf returns all records of a user, or the users that have any.
func (l *local) recordsOf(ctx context.Context, hive *vault.Hive, at place, word string) ([]byte, error) {
	if at.every {
		return owners(ctx, hive)
	}
	l.fences.raise(at.uid, word)
	all, err := hive.Load(ctx, at.uid)
	if err != nil {
		return nil, err
	}
	size := 0
	for key, value := range all {
		size += records.Size(key, value)
	}
	body := make([]byte, 0, size)
	for key, value := range all {
		body = records.Append(body, key, value)
		clear(value)
	}
	return body, nil
}

func owners(ctx context.Context, hive *vault.Hive) ([]byte, error) {
	uids, err := hive.Owners(ctx)
	if err != nil {
		return nil, err
	}
	var body []byte
	for _, uid := range uids {
		body = records.Append(body, strconv.FormatUint(uint64(uid), 10), []byte{})
	}
	return body, nil
}

func (l *local) patch(w http.ResponseWriter, r *http.Request, hive *vault.Hive, at place) error {
	body, err := readBody(w, r, l.batchLimit())
	if err != nil {
		return err
	}
	defer clear(body)
	if err := l.change(r.Context(), hive, at, body, r.Header.Get(records.Fence)); err != nil {
		return err
	}
	answerStatus(w, r, http.StatusOK, success)
	return nil
}

// batchLimit is the longest body that is taken for changes.
func (l *local) batchLimit() int64 {
	const frame = 1 << 20 // lengths and keys, and records of other caches
	return l.quota.PayloadLimit() + frame
}

// change makes the changes in a body, if they build on the last load.
func (l *local) change(ctx context.Context, hive *vault.Hive, at place, body []byte, word string) error {
	changes, err := records.ParseMap(body)
	if err != nil {
		return err
	}
	return l.fences.pass(at.uid, word, func() error {
		return hive.CommitIf(ctx, at.uid, changes, func(view *vault.View) error {
			return checkQuota(l.quota, view, kcmRule, changes)
		})
	})
}
