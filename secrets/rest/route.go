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

// place is what a request is about.
type place struct {
	hive  string
	uid   uint32
	every bool   // all users of the hive
	path  string // names joined by '/', "" for the base of the user
	dir   bool   // the path ended in '/'
	raw   string // as it was sent, below the base, for a proxy
}

// container is the key under which a container is kept: its path and a '/',
// which no secret's key ends in.
func (p place) container() string { return p.path + "/" }

// parent is the key of the container that the place lies in; "" if that is the
// base, which need not be made.
func (p place) parent() string {
	i := strings.LastIndexByte(p.path, '/')
	return p.path[:i+1]
}

// depth is the number of names in the path.
func (p place) depth() int {
	if p.path == "" {
		return 0
	}
	return strings.Count(p.path, "/") + 1
}

// route finds out what a request is about, and whether its sender may ask at
// all:
//
//	/secrets/…               the sender's own secrets
//	/users/<uid>/…           the secrets of a user, for root
//	/kcm/persistent/<uid>/…  the credential caches of a user, for root
//	/kcm/persistent/         those of all users, for root
func route(peer responder.Peer, target *url.URL) (place, error) {
	path := target.EscapedPath()
	if rest, ok := cutPrefixFold(path, "/secrets/"); ok {
		return below(place{hive: usersHive, uid: peer.UID}, rest)
	}
	if !trusted(peer) {
		return place{}, errForbidden
	}
	if rest, ok := cutPrefixFold(path, "/users/"); ok {
		return belowUser(place{hive: usersHive}, rest)
	}
	if rest, ok := cutPrefixFold(path, "/kcm/persistent/"); ok {
		if strings.Trim(rest, "/") == "" {
			return place{hive: kcmHive, every: true, dir: true}, nil
		}
		return belowUser(place{hive: kcmHive}, rest)
	}
	if _, ok := cutPrefixFold(path, "/kcm/"); ok {
		return place{}, errNotFound
	}
	return place{}, errForbidden
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

func belowUser(p place, path string) (place, error) {
	user, rest, _ := strings.Cut(path, "/")
	uid, err := strconv.ParseUint(user, 10, 32)
	if err != nil {
		return place{}, errNotFound
	}
	p.uid = uint32(uid)
	if !strings.Contains(path, "/") {
		return p, nil
	}
	return below(p, rest)
}

// below adds a path as it was sent. Empty names are skipped. Names that a
// proxied server could take for a way out of the user's base are refused.
func below(p place, raw string) (place, error) {
	p.raw = raw
	p.dir = raw == "" || strings.HasSuffix(raw, "/")
	var names []string
	for escaped := range strings.SplitSeq(raw, "/") {
		name, err := url.PathUnescape(escaped)
		switch {
		case escaped == "":
			continue
		case err != nil, name == ".", name == "..", strings.ContainsAny(name, "/\x00"), !utf8.ValidString(name):
			return place{}, errBadRequest
		}
		names = append(names, name)
	}
	p.path = strings.Join(names, "/")
	if len(p.path) >= vault.MaxKey {
		return place{}, errTooLong
	}
	return p, nil
}

// checkTarget refuses what no request may carry (sssd-secrets 1.16: the only
// query is type=simple).
func checkTarget(r *http.Request) error {
	if q := r.URL.RawQuery; q != "" && q != "type=simple" || r.URL.User != nil {
		return errBadRequest
	}
	return nil
}

// userRule counts every secret of a user; containers are not counted.
func userRule(key string) (unit string, counted bool) {
	return key, !strings.HasSuffix(key, "/")
}

// kcmRule counts each credential cache, ccache/<name>, as one secret with all
// records below it, and not the name of the default cache.
func kcmRule(key string) (unit string, counted bool) {
	if name, isCache := strings.CutPrefix(key, "ccache/"); isCache {
		cache, _, isPart := strings.Cut(name, "/")
		if isPart && cache != "" {
			return "ccache/" + cache, false
		}
	}
	return key, key != "default" && !strings.HasSuffix(key, "/")
}
