package kdc

import (
	"slices"
	"strings"

	"github.com/jcmturner/gokrb5/v8/iana/etypeID"

	"gosssd/kdc/profile"
)

// path returns the realms between two, as krb5.conf's [capaths] has them, or
// else as the names suggest: up to what both end with, and down again (RFC 4120
// §1.2). "." stands for none.
func path(conf *profile.Profile, from, to string) []string {
	if listed := conf.Values("capaths", from, to); len(listed) > 0 {
		return slices.DeleteFunc(listed, func(realm string) bool { return realm == "." || realm == from || realm == to })
	}
	up, down := parents(from), parents(to)
	for i, realm := range up {
		if j := slices.Index(down, realm); j >= 0 {
			between := slices.Clone(up[:i+1])
			for _, realm := range slices.Backward(down[:j]) {
				between = append(between, realm)
			}
			return slices.DeleteFunc(between, func(realm string) bool { return realm == from || realm == to })
		}
	}
	return nil
}

// parents returns a realm and those above it in the order of domains.
func parents(realm string) []string {
	list := []string{realm}
	for {
		_, above, isBelow := strings.Cut(realm, ".")
		if !isBelow || len(list) > maxHops {
			return list
		}
		list = append(list, above)
		realm = above
	}
}

// enctypeNames are names and families of krb5.conf "Encryption types" that the
// library behind this package can use.
var enctypeNames = map[string][]int32{
	"DEFAULT":  defaultEnctypes,
	"aes":      {18, 17, 20, 19},
	"aes-sha1": {18, 17}, "aes-sha2": {20, 19},
	"aes256-sha1": {18}, "aes128-sha1": {17}, "aes256-sha2": {20}, "aes128-sha2": {19},
	"rc4": {23}, "arcfour-hmac-md5": {23}, "arcfour-hmac": {23}, "rc4-hmac": {23},
}

// permitted returns the encryption types of session keys to ask for: those of
// default_tgs_enctypes or permitted_enctypes, in their order.
func permitted(conf *profile.Profile) []int32 {
	for _, key := range []string{"default_tgs_enctypes", "permitted_enctypes"} {
		if list := enctypesOf(conf.Value("libdefaults", key)); len(list) > 0 {
			return list
		}
	}
	return defaultEnctypes
}

// enctypesOf reads a list of krb5.conf: "-" before a word takes its types out.
// Words that are not known stand for nothing.
func enctypesOf(text string) []int32 {
	var list []int32
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		name, isOut := strings.CutPrefix(word, "-")
		types, isFamily := enctypeNames[strings.TrimPrefix(name, "+")]
		if n, isNamed := etypeID.ETypesByName[name]; !isFamily && isNamed {
			types = []int32{n}
		}
		for _, t := range types {
			list = slices.DeleteFunc(list, func(other int32) bool { return other == t })
			if !isOut && usable(t) {
				list = append(list, t)
			}
		}
	}
	return list
}

// usable reports whether the library can make and open what has this type.
func usable(enctype int32) bool {
	return slices.Contains(defaultEnctypes, enctype) || enctype == etypeID.RC4_HMAC
}
