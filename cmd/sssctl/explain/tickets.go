package explain

import (
	"strings"
	"time"
)

// maxSkew is how far clocks may be apart: the default of libkrb5's clockskew.
const maxSkew = 5 * time.Minute

// preferred is the default cache of the user, or nil.
func (u *User) preferred() *Cache {
	for i := range u.Caches {
		if u.Caches[i].Default {
			return &u.Caches[i]
		}
	}
	return nil
}

func (u *User) kinit(c *Cache) Step {
	return run(u.Name, "kinit -c %s %s", quote("KCM:"+c.Name), quote(c.Principal))
}

// at is a time of the KDC by this machine's clock.
func (c *Cache) at(seconds uint32) time.Time { return time.Unix(int64(seconds), 0).Add(-c.Offset) }

func tickets(s *Scene) Finding {
	u := s.Of
	if u.Err != nil {
		return unreadable(s)
	}
	c := u.preferred()
	switch {
	case c == nil:
		return problem("%s has no tickets", u.Name).with(see(u.Name, "get tickets with kinit"))
	case c.TGT == nil:
		return problem("the default cache of %s, %s, has no ticket-granting ticket", u.Name, c.Name).with(u.kinit(c))
	}
	starts, ends := c.at(c.TGT.Begin()), c.at(c.TGT.End)
	switch {
	case !ends.After(s.Now):
		return problem("the ticket-granting ticket of %s in %s has expired, at %s", c.Principal, c.Name, ends.Format(time.DateTime)).with(u.kinit(c))
	case starts.After(s.Now.Add(maxSkew)) && c.at(c.TGT.Auth).After(s.Now.Add(maxSkew)):
		return problem("the ticket-granting ticket of %s in %s was issued in the future, at %s: the clock of this machine was set back or is behind",
			c.Principal, c.Name, starts.Format(time.DateTime)).with(setClock(), u.kinit(c))
	case starts.After(s.Now.Add(maxSkew)):
		return problem("the ticket-granting ticket of %s in %s is not valid before %s", c.Principal, c.Name, starts.Format(time.DateTime)).with(u.kinit(c))
	}
	return well("%s has a ticket-granting ticket until %s", c.Principal, ends.Format(time.DateTime))
}

// unreadable is what there is to say where the caches cannot be read. Only where
// the storage itself calls them damaged are they to be touched.
func unreadable(s *Scene) Finding {
	f := problem("the caches of %s cannot be read: %v", s.Of.Name, s.Of.Err)
	switch {
	case s.System == nil:
		return f.with(run(root, "%s explain --user %s", s.Tool, s.Of.Name))
	case strings.Contains(s.Of.Err.Error(), "damaged"):
		return f.with(run(root, "%s secrets repair %d", s.Tool, s.Of.UID))
	}
	return f.with(see(root, "mend what is said here, and read the log of sssd_kcm"))
}

func setClock() Step { return see(root, "set the clock of this machine, as with chronyc makestep") }

func clock(s *Scene) Finding {
	c := s.Of.preferred()
	if s.Of.Err != nil || c == nil {
		return unchecked("without a cache nothing is known of the KDC's clock")
	}
	if by := c.Offset; by.Abs() > maxSkew {
		where := "behind"
		if by < 0 {
			where = "ahead of"
		}
		return problem("when the tickets in %s were got, the clock of this machine was %.0f minutes %s that of the KDC; programs that ignore this refuse them",
			c.Name, by.Abs().Minutes(), where).with(setClock(), s.Of.kinit(c))
	}
	return well("it agrees with the KDC's")
}

func renewal(s *Scene) Finding {
	for i := range s.Of.Caches {
		c := &s.Of.Caches[i]
		if c.Result == "" {
			continue
		}
		f := problem("the ticket of %s in %s could not be renewed: %s", c.Principal, c.Name, c.Result)
		if c.Code != 0 {
			return f.with(s.Of.kinit(c)) // the KDC has answered: it will not renew this one
		}
		return f.with(see(root, "see to it that the KDCs of the realm can be reached from here, as krb5.conf or DNS names them"), s.Of.kinit(c))
	}
	return well("no renewal has failed")
}
