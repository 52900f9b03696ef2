package protocol

// Flags is the word in front of a credtag: which fields must agree, and how.
// The bits are Heimdal's, which MIT's client sends too.
type Flags uint32

// The bits of Flags.
const (
	CachedOnly       Flags = 1 << 0  // do not ask a KDC
	MatchIsSkey      Flags = 1 << 22 // is_skey agrees; without it user-to-user tickets never match
	MatchSecond      Flags = 1 << 23 // the second ticket agrees
	MatchAuthData    Flags = 1 << 24 // authorization data agrees
	MatchTimes       Flags = 1 << 25 // lasts at least as long as asked for
	MatchTimesExact  Flags = 1 << 26 // all four times agree
	MatchFlags       Flags = 1 << 27 // has at least the ticket flags asked for
	MatchFlagsExact  Flags = 1 << 28 // ticket flags agree
	MatchServerName  Flags = 1 << 29 // the server's realm does not matter
	MatchKeytype     Flags = 1 << 30 // the session key's encryption type agrees
	DontMatchRealm   Flags = 1 << 31 // no realm matters
	allMatchingFlags       = ^Flags(1<<22 - 1)
)

// rawFlags are the matching bits of MIT's own API (krb5.h, KRB5_TC_MATCH_…)
// in the order of their values from 1 on.
var rawFlags = [...]Flags{
	MatchTimes, MatchIsSkey, MatchFlags, MatchTimesExact, MatchFlagsExact,
	MatchAuthData, MatchServerName, MatchSecond, MatchKeytype,
}

// RemoveFlags returns the flags that word means in front of the credtag of a
// REMOVE_CRED. MIT's clients sent the raw bits of their API there until March
// 2021; these are all low, and CachedOnly, the one low bit of the protocol,
// says nothing about removing.
func RemoveFlags(word uint32) Flags {
	flags := Flags(word)
	if flags&allMatchingFlags != 0 {
		return flags
	}
	var translated Flags
	for i, flag := range rawFlags {
		if word&(1<<i) != 0 {
			translated |= flag
		}
	}
	return translated
}
