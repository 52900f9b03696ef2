package main

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gosssd/cmd/sssctl/output"
	"gosssd/kcm"
	"gosssd/kcm/protocol"
)

func (t *tool) ccacheShowCommand() *cobra.Command {
	var printing *output.Options
	c := &cobra.Command{
		Use:   "show [NAME]",
		Short: "Show what is in a credential cache",
		Long: "Show what is in a credential cache, without NAME in your default cache: for which service each ticket is, from\n" +
			"when until when, and with which flags. Keys and the tickets themselves are never shown.",
		Args: arguments(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.withCaches(func(kept caches) error {
				return t.show(c, printing, func() (output.Listing, error) {
					x, err := t.look(kept, args)
					if err != nil {
						return output.Listing{}, err
					}
					return x.listing(time.Now()), nil
				})
			})
		},
		ValidArgsFunction: t.completeFirst(t.ownNames),
	}
	printing = output.Add(c)
	return c
}

// look reads the cache that is named, or the default cache, and asks sssd for
// what it tells only root.
func (t *tool) look(kept caches, args []string) (contents, error) {
	name, err := kept.named(args)
	if err != nil {
		return contents{}, err
	}
	x, err := kept.read(name)
	if err != nil {
		return x, err
	}
	if own, _ := t.ownOnly(false, nil); own {
		preferred, err := kept.Default()
		x.Default = name == preferred
		return x, err
	}
	m, err := t.openMover()
	if err != nil {
		return x, nil // without sssd there are the tickets
	}
	defer m.Close()
	found := false
	find := func(uids []uint32) error {
		return m.eachCache(uids, func(c kcm.Listed) {
			if c.Name == name {
				x.Listed, found = c, true
			}
		})
	}
	owner, _, _ := strings.Cut(name, ":")
	if uid, err := strconv.ParseUint(owner, 10, 32); err == nil {
		if err := find([]uint32{uint32(uid)}); err != nil || found {
			return x, err
		}
	}
	// Root made it for itself, or has given it away.
	uids, err := m.ownersOr(nil)
	if err != nil {
		return x, err
	}
	return x, find(uids)
}

// shownCache is the JSON of ccache show.
type shownCache struct {
	cacheEntry
	Offset      int64             `json:"kdc_offset"`
	Credentials []credentialEntry `json:"credentials"`
}

// credentialEntry is a ticket in the JSON of ccache show; sssctl(8) has the fields.
type credentialEntry struct {
	Service    string     `json:"service"`
	Client     string     `json:"client"`
	Start      *time.Time `json:"start"`
	Expires    *time.Time `json:"expires"`
	RenewUntil *time.Time `json:"renew_until"`
	Flags      string     `json:"flags"`
	Enctype    int32      `json:"enctype"` // of the session key
	Size       int        `json:"size"`    // of the ticket, in bytes
}

// listing shows a cache and its tickets; configuration entries are none.
func (x contents) listing(now time.Time) output.Listing {
	table := output.Table{Now: now, Heading: []string{"SERVICE", "START", "EXPIRES", "RENEW UNTIL", "FLAGS", "SIZE"},
		Optional: []string{"SIZE", "START", "RENEW UNTIL"}}
	user := userName(x.UID)
	shown := shownCache{cacheEntry: entryOf(user, x.Listed), Offset: x.offset, Credentials: []credentialEntry{}}
	for _, cred := range x.credentials {
		if cred.Server.IsConfig() {
			continue
		}
		begins, ends, renews := x.local(cred.Times.Begin()), x.local(cred.Times.End), x.local(cred.Times.RenewTill)
		flags := flagLetters(cred.TicketFlags)
		table.Rows = append(table.Rows, []output.Cell{
			output.Text(printable(cred.Server.String())), output.At(begins), output.Until(ends, now), output.Until(renews, now),
			output.Text(flags), output.Text(output.Bytes(uint64(len(cred.Ticket)))),
		})
		shown.Credentials = append(shown.Credentials, credentialEntry{
			Service: cred.Server.String(), Client: cred.Client.String(),
			Start: output.UTC(begins), Expires: output.UTC(ends), RenewUntil: output.UTC(renews),
			Flags: flags, Enctype: int32(cred.Key.Enctype), Size: len(cred.Ticket),
		})
	}
	return output.Listing{Above: x.heading(user), Table: table, JSON: shown}
}

// heading says for people what is known of the cache itself.
func (x contents) heading(user string) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 8, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(w, "%s:\t%s\n", name, value) }
	name := printable(x.Name)
	if x.Default {
		name += " (default)"
	}
	line("Cache", name)
	line("Owner", owner(x.UID, user))
	line("Principal", printable(x.Principal))
	size := output.Bytes(x.Size)
	if x.SizeLimit > 0 {
		size += " of " + output.Bytes(x.SizeLimit)
	}
	line("Size", size)
	if x.Used != 0 {
		line("Last use", since(x.Used))
	}
	if x.Session != "" {
		line("Login session", printable(x.Session))
	}
	if x.offset != 0 {
		line("KDC's clock", fmt.Sprintf("%+d s", x.offset))
	}
	if text := renewal(x.Listed); text != "-" {
		line("Renewal", text)
	}
	_ = w.Flush() // into memory
	return text.String() + "\n"
}

// flagLetters are the flags of a ticket (RFC 4120 §5.3, RFC 6112 §7) by the letters
// of klist -f.
func flagLetters(flags uint32) string {
	const letters = "\x00FfPpDdiRIHATOa" // from bit 0, the highest
	var text strings.Builder
	for i, letter := range letters {
		if letter != 0 && flags&(1<<(31-i)) != 0 {
			text.WriteRune(letter)
		}
	}
	return text.String()
}

// ownNames are the caller's caches, for completion.
func (t *tool) ownNames(*cobra.Command, string) (names []string) {
	_ = t.withCaches(func(kept caches) (err error) {
		names, err = kept.names()
		return err
	})
	return names
}

// expired are the tickets of a cache that have expired.
func (x contents) expired(now time.Time) (some []protocol.Credential) {
	for _, cred := range x.credentials {
		if !cred.Server.IsConfig() && cred.Times.End != 0 && x.local(cred.Times.End) <= now.Unix() {
			some = append(some, cred)
		}
	}
	return some
}
