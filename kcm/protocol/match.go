package protocol

import "bytes"

// Matches reports whether c is one of the credentials t describes, by the
// rules MIT's library applies when it looks through a cache itself.
func (t *Credtag) Matches(c *Credential, flags Flags) bool {
	return t.matchesNames(c, flags) && t.matchesSkey(c, flags) &&
		t.matchesTimes(c, flags) && t.matchesRest(c, flags)
}

func (t *Credtag) matchesNames(c *Credential, flags Flags) bool {
	anyRealm := flags&DontMatchRealm != 0
	return (!t.has(HasServer) || samePrincipal(t.Server, c.Server, anyRealm || flags&MatchServerName != 0)) &&
		(!t.has(HasClient) || samePrincipal(t.Client, c.Client, anyRealm))
}

func samePrincipal(p, q Principal, anyRealm bool) bool {
	if anyRealm {
		return p.EqualInAnyRealm(q)
	}
	return p.Equal(q)
}

// matchesSkey keeps user-to-user tickets from those who did not ask for one:
// they do not work as ordinary service tickets.
func (t *Credtag) matchesSkey(c *Credential, flags Flags) bool {
	wanted := flags&MatchIsSkey != 0 && t.IsSkey != 0
	return wanted == (c.IsSkey != 0)
}

func (t *Credtag) matchesTimes(c *Credential, flags Flags) bool {
	if flags&MatchTimesExact != 0 && t.Times != c.Times {
		return false
	}
	// A time of 0 asks for nothing.
	return flags&MatchTimes == 0 || t.Times.End <= c.Times.End && t.Times.RenewTill <= c.Times.RenewTill
}

func (t *Credtag) matchesRest(c *Credential, flags Flags) bool {
	switch {
	case flags&MatchFlagsExact != 0 && t.TicketFlags != c.TicketFlags,
		flags&MatchFlags != 0 && t.TicketFlags&^c.TicketFlags != 0,
		flags&MatchAuthData != 0 && !SameElements(t.AuthData, c.AuthData),
		flags&MatchSecond != 0 && !bytes.Equal(t.SecondTicket, c.SecondTicket),
		flags&MatchKeytype != 0 && t.Key.Enctype != c.Key.Enctype:
		return false
	}
	return true
}

// SameElements reports whether a and b hold the same in the same order.
func SameElements(a, b []Element) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Type != b[i].Type || !bytes.Equal(a[i].Data, b[i].Data) {
			return false
		}
	}
	return true
}
