// Package ldb reads the caches that SSSD's own sssd_kcm keeps in secrets.ldb,
// the database of its ccache_storage = secdb. It writes nothing.
//
// The file is a TDB database with the records of an ldb directory. Caches are
// found where SSSD 2.4.1 and later put them, in the binary format of those
// versions. Older ones are encrypted; they are named and not read.
package ldb

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gosssd/kcm/protocol"
)

// The names of records: a cache is cn=UUID-NAME below the first suffix with
// its owner's uid in between the two, the choice of a default cn=default
// below the uid. SSSD escapes nothing in NAME.
const (
	cachesOf      = ",cn=ccache,cn="
	defaultPrefix = "cn=default,cn="
	hiveSuffix    = ",cn=persistent,cn=kcm"
	uuidSize      = 36
)

// User is what one user has in the database.
type User struct {
	UID     uint32
	Default protocol.UUID // the cache that was chosen as the default; zero if none was
	Caches  []Cache       // in the order of their creation, as far as seconds tell
}

// Cache is one credential cache.
type Cache struct {
	UUID        protocol.UUID
	Name        string
	Created     int64    // seconds since 1970
	Offset      int32    // seconds that the KDC's clock is ahead
	Principal   []byte   // in version 4 of the file format; nil if there is none
	Credentials [][]byte // each in version 4 of the file format
}

// Damage is a record that cannot be used, or a place of the file.
type Damage struct {
	Record string // its name in the directory; "" if even that is lost
	Err    error
}

func (d Damage) Error() string {
	if d.Record == "" {
		return d.Err.Error()
	}
	return fmt.Sprintf("%s: %v", d.Record, d.Err)
}

func (d Damage) Unwrap() error { return d.Err }

// ErrEncrypted is the reason of a Damage: the cache is of SSSD 2.4.0 or older
// and encrypted with a key of that time.
var ErrEncrypted = errors.New("encrypted by SSSD 2.4.0 or older, which is not read")

// Read returns the caches in a secrets.ldb, by uid. A record that is damaged
// costs that cache only. An error says that the file as a whole is not to be
// read: ErrNotTDB, ErrUnfinished and others.
func Read(file []byte) ([]User, []Damage, error) {
	database, err := openTDB(file)
	if err != nil {
		return nil, nil, err
	}
	users := map[uint32]*User{}
	var damaged []Damage
	database.records(func(key, data []byte) {
		if !strings.HasPrefix(string(key), "DN=") || strings.HasPrefix(string(key), "DN=@") {
			return // what ldb keeps about itself
		}
		entry, err := unpack(data)
		if err == nil {
			err = entry.addTo(users)
		}
		if err != nil {
			damaged = append(damaged, Damage{entry.dn, err})
		}
	}, func(err error) { damaged = append(damaged, Damage{Err: err}) })
	return inOrder(users), damaged, nil
}

func inOrder(users map[uint32]*User) []User {
	list := make([]User, 0, len(users))
	for _, user := range users {
		slices.SortFunc(user.Caches, func(a, b Cache) int {
			return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Name, b.Name), slices.Compare(a.UUID[:], b.UUID[:]))
		})
		list = append(list, *user)
	}
	slices.SortFunc(list, func(a, b User) int { return cmp.Compare(a.UID, b.UID) })
	return list
}

// addTo adds what a record says to its user. Records of other kinds are left out.
func (r record) addTo(users map[uint32]*User) error {
	path, inHive := strings.CutSuffix(r.dn, hiveSuffix)
	if !inHive || string(r.attributes["type"]) == "container" {
		return nil
	}
	if uid, isDefault := strings.CutPrefix(path, defaultPrefix); isDefault {
		user, err := userOf(users, uid)
		if err != nil {
			return err
		}
		user.Default, err = protocol.ParseUUID(strings.TrimSuffix(string(r.attributes["secret"]), "\x00"))
		return err
	}
	at := strings.LastIndex(path, cachesOf)
	if at < 0 {
		return errors.New("neither a cache nor the choice of a default")
	}
	cache, err := r.cache(path[:at])
	if err != nil {
		return err
	}
	user, err := userOf(users, path[at+len(cachesOf):])
	if err != nil {
		return err
	}
	user.Caches = append(user.Caches, cache)
	return nil
}

func userOf(users map[uint32]*User, text string) (*User, error) {
	uid, err := strconv.ParseUint(text, 10, 32)
	if err != nil || strconv.FormatUint(uid, 10) != text {
		return nil, fmt.Errorf("%q is not a uid", text)
	}
	user := users[uint32(uid)]
	if user == nil {
		user = &User{UID: uint32(uid)}
		users[user.UID] = user
	}
	return user, nil
}

// cache reads a cache; name is the first part of its record's name.
func (r record) cache(name string) (Cache, error) {
	key, isName := strings.CutPrefix(name, "cn=")
	if !isName || len(key) <= uuidSize || key[uuidSize] != '-' {
		return Cache{}, errors.New("not named by a UUID and a cache's name")
	}
	id, err := protocol.ParseUUID(key[:uuidSize])
	if err != nil {
		return Cache{}, err
	}
	if enctype := string(r.attributes["enctype"]); enctype != "" && enctype != "plaintext" {
		return Cache{}, ErrEncrypted
	}
	created, err := strconv.ParseInt(string(r.attributes["creationTime"]), 10, 64)
	if err != nil {
		return Cache{}, fmt.Errorf("creationTime %q is not a number", r.attributes["creationTime"])
	}
	cache, err := decode(r.attributes["secret"])
	cache.UUID, cache.Name, cache.Created = id, key[uuidSize+1:], created
	return cache, err
}
