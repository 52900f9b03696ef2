package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"gosssd/kcm"
	"gosssd/sbus"
)

func (t *tool) ccacheListCommand() *cobra.Command {
	var of []string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the credential caches of all users",
		Long: "List the credential caches of all users: whose they are, until when their ticket-granting tickets are valid\n" +
			"and can be renewed, and what is known of their renewal. The default cache of a user is marked with *.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			m, err := t.openMover()
			if err != nil {
				return err
			}
			defer m.Close()
			uids, err := m.ownersOr(of)
			if err != nil {
				return err
			}
			return m.list(c.OutOrStdout(), uids)
		},
	}
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

// ownerName is a user's number, and the name if /etc/passwd has it.
func ownerName(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if account, err := user.LookupId(number); err == nil {
		return number + " (" + account.Username + ")"
	}
	return number
}

// list prints a line for each cache. A user whose caches cannot be read does
// not keep the others from being listed.
func (m *mover) list(out io.Writer, uids []uint32) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "OWNER\tNAME\tPRINCIPAL\tEXPIRES\tRENEW UNTIL\tRENEWAL")
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
		for _, c := range caches {
			name := printable(c.Name)
			if c.Default {
				name += " *"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", ownerName(uid), name, orDash(printable(c.Principal)), since(c.End), since(c.RenewTill), renewal(c))
		}
	}
	return errors.Join(append(problems, w.Flush())...)
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
	if !kcmRuns(services) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	bus, err := t.dial(ctx)
	if err != nil {
		return err
	}
	m := &mover{bus: bus}
	defer m.Close()
	reply, err := m.call(ctx, sbus.ResponderInterface("kcm"), sbus.ResponderPath("kcm"), "RenewalStatus")
	if err != nil {
		return nil // it has ended, or does not answer, which was said above
	}
	var sum renewalSum
	if err := dbus.Store(reply, &sum.on, &sum.tickets, &sum.next, &sum.totals, &sum.realm, &sum.asked, &sum.resume); err != nil {
		return fmt.Errorf("the answer of sssd_kcm cannot be read: %w", err)
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
