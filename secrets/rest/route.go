package rest

import (
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"gosssd/responder"
	"gosssd/secrets/vault"
)

// The hives of the vault.
const (
	usersHive = "secrets"
	kcmHive   = "kcm"
)

// target is what a request is about.
type target struct {
	hive     string
	uid      uint32
	allUsers bool   // instead of uid
	path     string // names joined by '/', "" for the base of the user
	dir      bool   // the path ended in '/'
	raw      string // as it was sent, below the base, for a proxy
}

// container is the key under which a container is kept: its path and a '/',
// which no secret's key ends in.
func (t target) container() string { return t.path + "/" }

// parent is the key of the container that the target lies in; "" if that is
// the base, which need not be made.
func (t target) parent() string {
	i := strings.LastIndexByte(t.path, '/')
	return t.path[:i+1]
}

// depth is the number of names in the path.
func (t target) depth() int {
	if t.path == "" {
		return 0
	}
	return strings.Count(t.path, "/") + 1
}

// route finds out what a request is about, and whether its sender may ask at
// all:
//
//	/secrets/…               the sender's own secrets
//	/users/<uid>/…           the secrets of a user, for root
//	/kcm/persistent/<uid>/…  the credential caches of a user, for root
//	/kcm/persistent/         those of all users, for root
func route(peer responder.Peer, address *url.URL) (target, error) {
	path := address.EscapedPath()
	if rest, ok := cutPrefixFold(path, "/secrets/"); ok {
		return below(target{hive: usersHive, uid: peer.UID}, rest)
	}
	if !trusted(peer) {
		return target{}, errForbidden
	}
	if rest, ok := cutPrefixFold(path, "/users/"); ok {
		return belowUser(target{hive: usersHive}, rest)
	}
	if rest, ok := cutPrefixFold(path, "/kcm/persistent/"); ok {
		if strings.Trim(rest, "/") == "" {
			return target{hive: kcmHive, allUsers: true, dir: true}, nil
		}
		return belowUser(target{hive: kcmHive}, rest)
	}
	if _, ok := cutPrefixFold(path, "/kcm/"); ok {
		return target{}, errNotFound
	}
	return target{}, errForbidden
}

// trusted reports whether a peer may name any user: root, and the user the
// service runs as, which is root but in a sandbox.
func trusted(peer responder.Peer) bool {
	return peer.UID == 0 || peer.UID == uint32(os.Geteuid())
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

func belowUser(t target, path string) (target, error) {
	user, rest, _ := strings.Cut(path, "/")
	uid, err := strconv.ParseUint(user, 10, 32)
	if err != nil {
		return target{}, errNotFound
	}
	t.uid = uint32(uid)
	if !strings.Contains(path, "/") {
		return t, nil
	}
	return below(t, rest)
}

// below adds a path as it was sent. Empty names are skipped. Names that a
// proxied server could take for a way out of the user's base are refused.
func below(t target, raw string) (target, error) {
	t.raw = raw
	t.dir = raw == "" || strings.HasSuffix(raw, "/")
	var names []string
	for escaped := range strings.SplitSeq(raw, "/") {
		name, err := url.PathUnescape(escaped)
		switch {
		case escaped == "":
			continue
		case err != nil, name == ".", name == "..", strings.ContainsAny(name, "/\x00"), !utf8.ValidString(name):
			return target{}, errBadRequest
		}
		names = append(names, name)
	}
	t.path = strings.Join(names, "/")
	if len(t.path) >= vault.MaxKey {
		return target{}, errTooLong
	}
	return t, nil
}

// checkQuery refuses what no request may carry (sssd-secrets 1.16: the only
// query is type=simple).
func checkQuery(r *http.Request) error {
	if q := r.URL.RawQuery; q != "" && q != "type=simple" || r.URL.User != nil {
		return errBadRequest
	}
	return nil
}
