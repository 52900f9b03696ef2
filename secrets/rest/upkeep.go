package rest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gosssd/secrets"
	"gosssd/secrets/records"
	"gosssd/secrets/vault"
)

// upkeep answers root's requests that are not about one secret but about the
// vault:
//
//	POST /vault/rekey               seals everything under a new master key
//	GET  /vault/damaged             the users with damaged records, as secrets.Damaged in JSON
//	POST /vault/repair/HIVE/UID     keeps the records that can be read, deletes the others; secrets.Repaired
//	POST /vault/discard/HIVE/UID    deletes all records of a user
//
// HIVE is kcm or secrets. Errors are told in words, since they go to an
// administrator. It reports whether the request was one of these.
func (s *service) upkeep(w http.ResponseWriter, r *http.Request) (isOne bool, err error) {
	what, isOne := cutPrefixFold(r.URL.EscapedPath(), "/vault/")
	if !isOne {
		return false, nil
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // it takes as long as there are secrets
	result, err := s.local.upkeep(r, strings.Split(what, "/"))
	if err != nil {
		return true, wordedError{err}
	}
	body, err := json.Marshal(result)
	if err != nil {
		return true, wordedError{err}
	}
	answer(w, http.StatusOK, jsonType, body)
	return true, nil
}

// wordedError is an error of which the client is told all.
type wordedError struct{ error }

// Unwrap returns the error itself.
func (e wordedError) Unwrap() error { return e.error }

func (l *local) upkeep(r *http.Request, what []string) (result any, err error) {
	v, err := l.vault.get()
	if err != nil {
		return nil, err
	}
	switch {
	case r.Method == http.MethodPost && len(what) == 1 && what[0] == "rekey":
		return success, v.Rekey(r.Context())
	case r.Method == http.MethodGet && len(what) == 1 && what[0] == "damaged":
		return allDamaged(r, v)
	case r.Method != http.MethodPost || len(what) != 3:
		return nil, errBadRequest
	}
	hives := map[string]string{"kcm": kcmHive, "secrets": usersHive}
	name, known := hives[what[1]]
	uid, err := strconv.ParseUint(what[2], 10, 32)
	if !known || err != nil {
		return nil, errBadRequest
	}
	hive := v.Hive(name)
	if name == kcmHive {
		// What sssd_kcm knows of the user is out of date from here on.
		token := records.Token{1} // which no client makes up
		if err := l.fences.raise(uint32(uid), token, func() bool { return false }); err != nil {
			return nil, err
		}
	}
	switch what[0] {
	case "repair":
		kept, deleted, err := hive.Repair(r.Context(), uint32(uid))
		return secrets.Repaired{Kept: kept, Deleted: deleted}, err
	case "discard":
		return success, hive.Discard(r.Context(), uint32(uid))
	}
	return nil, errBadRequest
}

func allDamaged(r *http.Request, v *vault.Vault) ([]secrets.Damaged, error) {
	all := []secrets.Damaged{}
	for word, name := range map[string]string{"kcm": kcmHive, "secrets": usersHive} {
		damaged, err := v.Hive(name).Damaged(r.Context())
		if err != nil {
			return nil, err
		}
		for uid, wrong := range damaged {
			all = append(all, secrets.Damaged{Hive: word, UID: uid, What: wrong.What})
		}
	}
	return all, nil
}
