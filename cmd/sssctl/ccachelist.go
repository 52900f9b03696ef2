package main

import (
	"errors"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gosssd/cmd/sssctl/output"
	"gosssd/kcm"
	"gosssd/sbus"
)

func (t *tool) ccacheListCommand() *cobra.Command {
	var of []string
	var all bool
	var expiring time.Duration
	var printing *output.Options
	c := &cobra.Command{
		Use:   "list",
		Short: "List the credential caches of all users",
		Long: "List the credential caches of all users: whose they are, until when their ticket-granting tickets are valid\n" +
			"and can be renewed, and what is known of their renewal. The default cache of a user is marked with *.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if all && len(of) > 0 {
				return &usageError{c, "choose one of --user and --all"}
			}
			if expiring < 0 {
				return &usageError{c, "--expiring: a time to come is expected, as 1h"}
			}
			m, err := t.openMover()
			if err != nil {
				return err
			}
			defer m.Close()
			return t.show(c, printing, func() (output.Listing, error) {
				uids, err := m.ownersOr(of)
				if err != nil {
					return output.Listing{}, err
				}
				return m.list(uids, time.Now(), expiring)
			})
		},
	}
	printing = output.Add(c)
	c.Flags().BoolVar(&all, "all", false, "list those of all users, as without --user")
	c.Flags().DurationVar(&expiring, "expiring", 0, "list only those whose tickets expire within `TIME`, as 1h, or have expired")
	c.Flags().StringArrayVar(&of, "user", nil, "list those of `USER` alone, by name or number; may be repeated")
	return c
}

// ownersOr returns the numbers of these users, or of all that have caches if
// none is named.
func (m *mover) ownersOr(named []string) (uids []uint32, err error) {
	if len(named) == 0 {
		err = m.callKCM("CacheOwners", nil, []any{&uids})
	}
	for _, name := range named {
		uid, err := uidOf(name)
		if err != nil {
			return nil, err
		}
		uids = append(uids, uid)
	}
	return uids, err
}

// uidOf returns the number of a user who is given by name or number.
func uidOf(name string) (uint32, error) {
	number := name
	if _, err := strconv.ParseUint(name, 10, 32); err != nil {
		account, err := user.Lookup(name)
		if err != nil {
			return 0, fmt.Errorf("there is no user %q in /etc/passwd; users from elsewhere are given by number", name)
		}
		number = account.Uid
	}
	uid, err := strconv.ParseUint(number, 10, 32)
	return uint32(uid), err
}

// userName is the name that /etc/passwd has for a user, or "".
func userName(uid uint32) string {
	account, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return ""
	}
	return account.Username
}

// cacheEntry is a cache in the JSON of ccache list; sssctl(8) has the fields.
// Times are in UTC.
type cacheEntry struct {
	UID        uint32        `json:"uid"`
	User       string        `json:"user,omitempty"`
	Name       string        `json:"name"`
	Principal  string        `json:"principal,omitempty"`
	Default    bool          `json:"default"`
	Expires    *time.Time    `json:"expires"`
	RenewUntil *time.Time    `json:"renew_until"`
	Renewal    *renewalEntry `json:"renewal"`
}

// renewalEntry is what is known of the renewal of a cache's ticket.
type renewalEntry struct {
	Next   *time.Time `json:"next"`
	Last   *time.Time `json:"last"`
	Result string     `json:"result,omitempty"` // "" if the last went well
	Code   int32      `json:"code,omitempty"`   // of the KDC
}

// list lists the caches of users, or those whose tickets expire within a time if
// that is not 0. A user whose caches cannot be read does not keep the others from
// being listed.
func (m *mover) list(uids []uint32, now time.Time, expiring time.Duration) (output.Listing, error) {
	table := output.Table{Now: now, Heading: []string{"OWNER", "NAME", "PRINCIPAL", "EXPIRES", "RENEW UNTIL", "RENEWAL"}}
	entries := []cacheEntry{}
	var problems []error
	for _, uid := range uids {
		var caches []kcm.Listed
		err := m.callKCM("CachesOf", []any{uid}, []any{&caches})
		if errors.Is(err, errEnded) {
			problems = append(problems, err)
			break
		} else if err != nil {
			problems = append(problems, fmt.Errorf("uid %d: %w", uid, err))
			continue
		}
		name := userName(uid)
		for _, c := range caches {
			if expiring > 0 && (c.End == 0 || c.End > now.Add(expiring).Unix()) {
				continue
			}
			table.Rows = append(table.Rows, cacheRow(uid, name, c, now))
			entries = append(entries, entryOf(uid, name, c))
		}
	}
	return output.Listing{Table: table, JSON: entries}, errors.Join(problems...)
}

// cacheRow is a cache as people see it.
func cacheRow(uid uint32, user string, c kcm.Listed, now time.Time) []output.Cell {
	owner := strconv.FormatUint(uint64(uid), 10)
	if user != "" {
		owner += " (" + user + ")"
	}
	name := printable(c.Name)
	if c.Default {
		name += " *"
	}
	return []output.Cell{
		output.Text(owner), output.Text(name), output.Text(printable(c.Principal)),
		output.Until(c.End, now), output.Until(c.RenewTill, now), output.Text(renewal(c)),
	}
}

// entryOf is a cache as programs see it.
func entryOf(uid uint32, user string, c kcm.Listed) cacheEntry {
	entry := cacheEntry{UID: uid, User: user, Name: c.Name, Principal: c.Principal, Default: c.Default,
		Expires: output.UTC(c.End), RenewUntil: output.UTC(c.RenewTill)}
	if c.NextTry != 0 || c.LastTry != 0 || c.Result != "" {
		entry.Renewal = &renewalEntry{Next: output.UTC(c.NextTry), Last: output.UTC(c.LastTry), Result: c.Result, Code: c.Code}
	}
	return entry
}

// renewal says in words what is known of the renewal of a cache's ticket.
func renewal(c kcm.Listed) string {
	switch {
	case c.Result != "" && c.NextTry != 0:
		return fmt.Sprintf("failed at %s: %s; again at %s", since(c.LastTry), printable(c.Result), since(c.NextTry))
	case c.Result != "":
		return "given up: " + printable(c.Result)
	case c.NextTry != 0:
		return "due at " + since(c.NextTry)
	}
	return "-"
}

// printRenewal prints how the renewal of tickets goes, if sssd_kcm renews any.
func (t *tool) printRenewal(out io.Writer, services []description) error {
	var sum renewalSum
	told, err := t.askRunning(services, sbus.ResponderInterface("kcm"), sbus.ResponderPath("kcm"), "RenewalStatus",
		&sum.on, &sum.tickets, &sum.next, &sum.totals, &sum.realm, &sum.asked, &sum.resume)
	if !told {
		return err
	}
	if sum.on {
		fmt.Fprintf(out, "\nRenewal of tickets: %s\n", sum)
	}
	return nil
}

// renewalSum is what RenewalStatus returns.
type renewalSum struct {
	on      bool
	tickets uint32
	next    int64
	totals  map[string]uint64
	realm   string
	asked   uint32
	resume  int64
}

func (s renewalSum) String() string {
	text := fmt.Sprintf("%d known, next due %s, %d renewed, %d refused, %d unanswered, %d failed otherwise",
		s.tickets, since(s.next), s.totals["renewed"], s.totals["refused"], s.totals["unanswered"], s.totals["failed"])
	if s.realm != "" {
		again := "now"
		if s.resume > time.Now().Unix() {
			again = "at " + since(s.resume)
		}
		text += fmt.Sprintf("; no KDC of %s has answered %d requests, the next is sent %s", printable(s.realm), s.asked, again)
	}
	return text
}
