package sbus

import (
	"slices"
	"strings"
)

// nameFlags are the flags of RequestName.
type nameFlags uint32

// Flags and results of RequestName and ReleaseName (D-Bus Specification,
// "Message Bus Messages").
const (
	allowReplacement nameFlags = 1
	replaceExisting  nameFlags = 2
	doNotQueue       nameFlags = 4

	primaryOwner uint32 = 1
	inQueue      uint32 = 2
	nameExists   uint32 = 3
	alreadyOwner uint32 = 4

	nameReleased    uint32 = 1
	nameNonExistent uint32 = 2
	notOwner        uint32 = 3
)

// maxName is the length bus, interface and member names may have.
const maxName = 255

// claim is the wish of a connection, by its unique name, to own a name.
type claim struct {
	peer  string
	flags nameFlags
}

// names holds who owns each well-known name, and who waits for it: the first
// claim of a name is its owner's.
type names map[string][]claim

// change tells that a name has passed from one owner to another; "" is none.
type change struct{ name, from, to string }

// owner returns the unique name of a name's owner, "" if it has none.
func (n names) owner(name string) string {
	if claims := n[name]; len(claims) > 0 {
		return claims[0].peer
	}
	return ""
}

// request claims a name, and tells the change of its owner if there is one.
func (n names) request(name string, peer string, flags nameFlags) (result uint32, changes []change) {
	claims, mine := n[name], claim{peer, flags}
	if len(claims) == 0 {
		n[name] = []claim{mine}
		return primaryOwner, []change{{name: name, to: peer}}
	}
	owner := claims[0]
	if owner.peer == peer {
		claims[0] = mine
		return alreadyOwner, nil
	}
	if flags&replaceExisting != 0 && owner.flags&allowReplacement != 0 {
		claims = without(claims, peer)
		if owner.flags&doNotQueue != 0 {
			claims = claims[1:]
		}
		n[name] = slices.Insert(slices.Clone(claims), 0, mine)
		return primaryOwner, []change{{name, owner.peer, peer}}
	}
	if flags&doNotQueue != 0 {
		n[name] = without(claims, peer)
		return nameExists, nil
	}
	if i := slices.IndexFunc(claims, func(c claim) bool { return c.peer == peer }); i >= 0 {
		claims[i] = mine
	} else {
		n[name] = append(claims, mine)
	}
	return inQueue, nil
}

// release gives up a claim.
func (n names) release(name string, peer string) (result uint32, changes []change) {
	claims, ok := n[name]
	if !ok {
		return nameNonExistent, nil
	}
	rest := without(claims, peer)
	if len(rest) == len(claims) {
		return notOwner, nil
	}
	if n[name] = rest; len(rest) == 0 {
		delete(n, name)
	}
	if claims[0].peer != peer {
		return nameReleased, nil
	}
	return nameReleased, []change{{name, peer, n.owner(name)}}
}

// releaseAll gives up every claim of a connection.
func (n names) releaseAll(peer string) (changes []change) {
	for _, name := range n.claimedBy(peer) {
		_, c := n.release(name, peer)
		changes = append(changes, c...)
	}
	return changes
}

// claimedBy lists the names a connection owns or waits for.
func (n names) claimedBy(peer string) (list []string) {
	for name, claims := range n {
		if slices.ContainsFunc(claims, func(c claim) bool { return c.peer == peer }) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func without(claims []claim, peer string) []claim {
	return slices.DeleteFunc(slices.Clone(claims), func(c claim) bool { return c.peer == peer })
}

// validName reports whether s is a well-known bus name (D-Bus Specification,
// "Valid Names").
func validName(s string) bool {
	if len(s) > maxName || !strings.Contains(s, ".") {
		return false
	}
	for element := range strings.SplitSeq(s, ".") {
		if element == "" || element[0] >= '0' && element[0] <= '9' {
			return false
		}
		if strings.IndexFunc(element, func(r rune) bool { return !nameRune(r) }) >= 0 {
			return false
		}
	}
	return true
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
}
