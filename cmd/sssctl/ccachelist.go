package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gosssd/cmd/sssctl/output"
	"gosssd/kcm"
	"gosssd/layout"
	"gosssd/sbus"
)

func (t *tool) ccacheListCommand() *cobra.Command {
	var of []string
	var all bool
	var expiring time.Duration
	var printing *output.Options
	c := &cobra.Command{
		Use:   "list",
		Short: "List credential caches",
		Long: "List the credential caches of all users for root, and your own otherwise: whose they are, until when their\n" +
			"ticket-granting tickets are valid and can be renewed, and what is known of their renewal. The default cache of\n" +
			"a user is marked with *.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if all && len(of) > 0 {
				return &usageError{c, "choose one of --user and --all"}
			}
			if expiring < 0 {
				return &usageError{c, "--expiring: a time to come is expected, as 1h"}
			}
			own, err := t.ownOnly(all, of)
			if err != nil {
				return err
			}
			if own {
				return t.withCaches(func(kept caches) error {
					return t.show(c, printing, func() (output.Listing, error) { return kept.list(time.Now(), expiring) })
				})
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
	c.Flags().BoolVar(&all, "all", false, "list those of all users, as root does without --user")
	c.Flags().DurationVar(&expiring, "expiring", 0, "list only those whose tickets expire within `TIME`, as 1h, or have expired")
	c.Flags().StringArrayVar(&of, "user", nil, "list those of `USER` alone, by name or number; may be repeated")
	return c
}

// ownOnly reports whether the caller is to see only his own caches, who may see
// no others. Below --root those who may use the private bus see all.
func (t *tool) ownOnly(all bool, of []string) (bool, error) {
	denied := unix.Access(t.root.Path(layout.Current().Bus), unix.W_OK)
	if os.Geteuid() == 0 || t.root.Within() && !errors.Is(denied, fs.ErrPermission) {
		return false, nil
	}
	for _, name := range of {
		if uid, err := uidOf(name); err != nil || uid != uint32(os.Geteuid()) {
			all = true
		}
	}
	if all {
		return false, sentence("only root sees the caches of others; without --all and --user your own are listed")
	}
	return true, nil
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

// cacheEntry is a cache in the JSON of ccache list and show; sssctl(8) has the
// fields. Times are in UTC.
type cacheEntry struct {
	UID        uint32        `json:"uid"`
	User       string        `json:"user,omitempty"`
	Name       string        `json:"name"`
	Principal  string        `json:"principal,omitempty"`
	Default    bool          `json:"default"`
	Tickets    uint32        `json:"tickets"`
	Size       uint64        `json:"size"`
	SizeLimit  *uint64       `json:"size_limit"`
	Used       *time.Time    `json:"used"`
	Session    string        `json:"session,omitempty"`
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
	rows := newCacheRows(now, expiring)
	err := m.eachCache(uids, rows.add)
	return rows.listing(), err
}

// eachCache calls do with each cache of users, page by page.
func (m *mover) eachCache(uids []uint32, do func(kcm.Listed)) error {
	var problems []error
	for skip := uint32(0); len(uids) > 0; {
		var page []kcm.Listed
		var unread []kcm.Unread
		var done uint32
		if err := m.callKCM("CachesOf", []any{uids[:min(len(uids), mostAsked)], skip}, []any{&page, &unread, &done, &skip}); err != nil {
			return errors.Join(append(problems, err)...)
		}
		for _, c := range page {
			do(c)
		}
		for _, u := range unread {
			problems = append(problems, fmt.Errorf("uid %d: %s", u.UID, u.Reason))
		}
		uids = uids[min(int(done), len(uids)):]
	}
	return errors.Join(problems...)
}

// mostAsked is how many users a call asks about, so that the message is small.
const mostAsked = 10000

// list lists the caller's caches as mover.list does. What only the server knows
// is missing: how large a cache may be, its last use and its renewal.
func (c caches) list(now time.Time, expiring time.Duration) (output.Listing, error) {
	mine, err := c.mine()
	rows := newCacheRows(now, expiring)
	for _, x := range mine {
		rows.add(x.Listed)
	}
	return rows.listing(), err
}

// cacheRows are the rows of a list of caches, for people and for programs.
type cacheRows struct {
	now      time.Time
	expiring time.Duration
	table    output.Table
	entries  []cacheEntry
	uid      uint32 // whose name is user
	user     string
}

func newCacheRows(now time.Time, expiring time.Duration) *cacheRows {
	return &cacheRows{now: now, expiring: expiring, entries: []cacheEntry{}, user: userName(0), table: output.Table{
		Now:      now,
		Heading:  []string{"OWNER", "NAME", "PRINCIPAL", "TICKETS", "SIZE", "USED", "EXPIRES", "RENEW UNTIL", "RENEWAL"},
		Optional: []string{"SIZE", "USED", "TICKETS", "RENEW UNTIL"},
	}}
}

// add adds a cache, unless its tickets last longer than is asked for.
func (r *cacheRows) add(c kcm.Listed) {
	if r.expiring > 0 && (c.End == 0 || c.End > r.now.Add(r.expiring).Unix()) {
		return
	}
	if c.UID != r.uid {
		r.uid, r.user = c.UID, userName(c.UID)
	}
	name := printable(c.Name)
	if c.Default {
		name += " *"
	}
	r.table.Rows = append(r.table.Rows, []output.Cell{
		output.Text(owner(c.UID, r.user)), output.Text(name), output.Text(printable(c.Principal)),
		output.Text(strconv.FormatUint(uint64(c.Credentials), 10)), sizeCell(c), output.At(c.Used),
		output.Until(c.End, r.now), output.Until(c.RenewTill, r.now), output.Text(renewal(c)),
	})
	r.entries = append(r.entries, entryOf(r.user, c))
}

func (r *cacheRows) listing() output.Listing { return output.Listing{Table: r.table, JSON: r.entries} }

// owner is a user with name and number.
func owner(uid uint32, user string) string {
	text := strconv.FormatUint(uint64(uid), 10)
	if user != "" {
		text += " (" + user + ")"
	}
	return text
}

// sizeCell is how large a cache is.
func sizeCell(c kcm.Listed) output.Cell {
	if c.SizeLimit > 0 && float64(c.Size) >= nearFull*float64(c.SizeLimit) {
		return output.Alarming(output.Bytes(c.Size))
	}
	return output.Text(output.Bytes(c.Size))
}

// entryOf is a cache as programs see it.
func entryOf(user string, c kcm.Listed) cacheEntry {
	entry := cacheEntry{UID: c.UID, User: user, Name: c.Name, Principal: c.Principal, Default: c.Default,
		Tickets: c.Credentials, Size: c.Size, Used: output.UTC(c.Used), Session: c.Session,
		Expires: output.UTC(c.End), RenewUntil: output.UTC(c.RenewTill)}
	if c.SizeLimit > 0 {
		entry.SizeLimit = &c.SizeLimit
	}
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
func printRenewal(out io.Writer, bus *sbus.Conn, services []description) error {
	var sum renewalSum
	told, err := askRunning(bus, services, sbus.ResponderInterface("kcm"), sbus.ResponderPath("kcm"), "RenewalStatus",
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
