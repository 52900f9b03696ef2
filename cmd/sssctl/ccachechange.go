package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gosssd/kcm"
	"gosssd/kcm/protocol"
)

func (t *tool) ccacheSwitchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "switch NAME",
		Short: "Make a credential cache the default one",
		Long:  "Make a credential cache the default one of its owner, as kswitch does.",
		Args:  arguments(1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			return t.withCaches(func(kept caches) error { return kept.name(protocol.OpSetDefaultCache, cacheName(args[0])) })
		},
		ValidArgsFunction: t.completeFirst(t.ownNames),
	}
}

func (t *tool) ccacheDestroyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "destroy NAME...",
		Short: "Destroy credential caches",
		Long:  "Destroy credential caches with all that is in them, as kdestroy does.",
		Args:  arguments(1, 1000),
		RunE: func(_ *cobra.Command, args []string) error {
			return t.withCaches(func(kept caches) error {
				var problems []error
				for _, name := range args { // one that is not there does not keep the others
					if err := kept.name(protocol.OpDestroy, cacheName(name)); err != nil {
						problems = append(problems, err)
					}
				}
				if len(problems) == 1 {
					return problems[0]
				}
				return errors.Join(problems...)
			})
		},
		ValidArgsFunction: t.completeFirst(t.ownNames),
	}
}

// name does something with a cache for which its name is enough.
func (c caches) name(op protocol.Op, name string) error {
	_, err := c.Call(op, protocol.AppendName(nil, name))
	if err != nil {
		return cacheRefusal(name, err)
	}
	return nil
}

func (t *tool) ccachePurgeCommand() *cobra.Command {
	var p purge
	c := &cobra.Command{
		Use:   "purge [--expired]",
		Short: "Destroy all credential caches, or remove expired tickets",
		Long: "Destroy all your credential caches, as kdestroy -A does, or with --expired remove from them the tickets that have\n" +
			"expired. Root may name other users. sssd_kcm removes expired tickets by itself, too, when their caches are due.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if p.all && len(p.of) > 0 {
				return &usageError{c, "choose one of --user and --all"}
			}
			return t.withCaches(func(kept caches) error {
				names, err := t.purgeable(kept, &p)
				if err != nil {
					return err
				}
				return p.run(c, kept, names, time.Now())
			})
		},
	}
	c.Flags().BoolVar(&p.expired, "expired", false, "remove expired tickets only")
	c.Flags().BoolVar(&p.all, "all", false, "purge the caches of all users")
	c.Flags().StringArrayVar(&p.of, "user", nil, "purge the caches of `USER` alone, by name or number; may be repeated")
	return c
}

// purge is what ccache purge is to do.
type purge struct {
	expired, all bool
	of           []string
}

// purgeable are the names of the caches to be purged: the caller's own unless
// others are asked for.
func (t *tool) purgeable(kept caches, p *purge) (names []string, err error) {
	if !p.all && len(p.of) == 0 {
		return kept.names()
	}
	if own, err := t.ownOnly(p.all, p.of); err != nil {
		return nil, err
	} else if own {
		return kept.names()
	}
	m, err := t.openMover()
	if err != nil {
		return nil, err
	}
	defer m.Close()
	uids, err := m.ownersOr(p.of)
	if err != nil {
		return nil, err
	}
	return names, m.eachCache(uids, func(c kcm.Listed) { names = append(names, c.Name) })
}

// run purges caches. One that fails does not keep it from the others; one that
// is gone was destroyed meanwhile.
func (p *purge) run(c *cobra.Command, kept caches, names []string, now time.Time) error {
	var problems []error
	caches, tickets := 0, 0
	progress := newProgress(c, "caches", len(names))
	for i, name := range names {
		removed, err := 0, error(nil)
		if p.expired {
			removed, err = kept.removeExpired(name, now)
		} else {
			err = kept.name(protocol.OpDestroy, name)
		}
		switch {
		case isGone(err):
		case err != nil:
			problems = append(problems, err)
		case !p.expired || removed > 0:
			caches, tickets = caches+1, tickets+removed
		}
		progress.at(i + 1)
	}
	progress.end()
	if p.expired {
		fmt.Fprintf(c.OutOrStdout(), "Expired tickets removed %d, from caches %d\n", tickets, caches)
	} else {
		fmt.Fprintf(c.OutOrStdout(), "Caches destroyed %d\n", caches)
	}
	return errors.Join(problems...)
}

// removeExpired removes the tickets of a cache that have expired. Each is named
// with all its times, so that one that has taken its place meanwhile stays.
func (c caches) removeExpired(name string, now time.Time) (removed int, err error) {
	x, err := c.read(name)
	if err != nil {
		return 0, err
	}
	for _, cred := range x.expired(now) {
		request := protocol.AppendName(nil, name)
		request = binary.BigEndian.AppendUint32(request, uint32(protocol.MatchTimesExact|protocol.MatchIsSkey))
		request = protocol.AppendCredtag(request, protocol.Credtag{
			Present:    protocol.HasServer | protocol.HasClient,
			Credential: protocol.Credential{Server: cred.Server, Client: cred.Client, Times: cred.Times, IsSkey: cred.IsSkey},
		})
		switch _, err := c.Call(protocol.OpRemoveCred, request); code(err) {
		case protocol.OK:
			if err != nil {
				return removed, err
			}
			removed++
		case protocol.NotFound: // it is gone
		default:
			return removed, cacheRefusal(name, err)
		}
	}
	return removed, nil
}
