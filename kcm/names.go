package kcm

import (
	"bytes"
	"strconv"
	"strings"
)

// maxName bounds the names of caches.
const maxName = 4096

// rootUID is the user who may name any cache.
const rootUID = 0

// ownerOf returns the uid that a name begins with, in UID or UID:anything.
// Any other name is root's.
func ownerOf(name []byte) uint32 {
	digits, _, _ := bytes.Cut(name, []byte{':'})
	if len(digits) == 0 || len(digits) > 1 && digits[0] == '0' {
		return rootUID
	}
	var uid uint64
	for _, d := range digits {
		if d < '0' || d > '9' || uid > 1<<32 {
			return rootUID
		}
		uid = uid*10 + uint64(d-'0')
	}
	if uid > 1<<32-1 {
		return rootUID
	}
	return uint32(uid)
}

// mayCreate reports whether a user may give a cache this name.
func mayCreate(uid uint32, name []byte) bool {
	if len(name) == 0 || len(name) > maxName {
		return false
	}
	return uid == rootUID || ownerOf(name) == uid
}

// numberOf returns the number in a name like those that GEN_NEW makes for a user:
// UID:NUMBER.
func numberOf(uid uint32, name []byte) (n uint32, ok bool) {
	owner, digits, _ := strings.Cut(string(name), ":")
	number, err := strconv.ParseUint(digits, 10, 32)
	ok = err == nil && owner == strconv.FormatUint(uint64(uid), 10) && digits == strconv.FormatUint(number, 10)
	return uint32(number), ok
}

// firstName is the name that the first cache of a user should get.
func firstName(b []byte, uid uint32) []byte {
	return strconv.AppendUint(b, uint64(uid), 10)
}
