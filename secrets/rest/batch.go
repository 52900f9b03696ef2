package rest

import (
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
		answerStatus(w, r, http.StatusOK, "Success")
		return nil
	case at.hive != kcmHive || !at.dir || at.path != "":
		return errBadRequest
	case r.Method == http.MethodGet && at.every:
		return owners(w, r, hive)
	case r.Method == http.MethodGet:
		return load(w, r, hive, at)
	case r.Method == http.MethodPatch && !at.every && isRecords(r):
		return l.patch(w, r, hive, at)
	}
	return errBadRequest
}

func owners(w http.ResponseWriter, r *http.Request, hive *vault.Hive) error {
	uids, err := hive.Owners(r.Context())
	if err != nil {
		return err
	}
	var body []byte
	for _, uid := range uids {
		body = records.Append(body, strconv.FormatUint(uint64(uid), 10), []byte{})
	}
	answer(w, http.StatusOK, records.MediaType, body)
	return nil
}

func load(w http.ResponseWriter, r *http.Request, hive *vault.Hive, at place) error {
	all, err := hive.Load(r.Context(), at.uid)
	if err != nil {
		return err
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
	answer(w, http.StatusOK, records.MediaType, body)
	clear(body)
	return nil
}

func (l *local) patch(w http.ResponseWriter, r *http.Request, hive *vault.Hive, at place) error {
	const frame = 1 << 20 // lengths and keys, and records of other caches
	body, err := readBody(w, r, l.quota.PayloadLimit()+frame)
	if err != nil {
		return err
	}
	defer clear(body)
	changes, err := records.ParseMap(body)
	if err != nil {
		return err
	}
	err = hive.CommitIf(r.Context(), at.uid, changes, func(view *vault.View) error {
		return checkQuota(l.quota, view, kcmRule, changes)
	})
	if err == nil {
		answerStatus(w, r, http.StatusOK, "Success")
	}
	return err
}
