package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gosssd/layout"
	"gosssd/sbus"
)

// restartTime bounds the wait for sssd to be back: it replaces the responders
// first, which answer what they have been sent.
const restartTime = 2 * time.Minute

func (t *tool) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restart",
		Short: "Put an edited sssd.conf into force",
		Long: "Check sssd.conf and, if it is right, start " + layout.Current().Monitor + " again in its process. No client is refused meanwhile,\n" +
			"also where it holds the responders' sockets itself and systemd does not. Programs that an upgrade has replaced are\n" +
			"started anew. What is not in force afterwards, since a responder has caches in its memory only, is said, and\n" +
			"the command then fails.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), restartTime)
			defer cancel()
			if err := t.restart(ctx); err != nil {
				return err
			}
			return t.reportPending(ctx, c.OutOrStdout())
		},
	}
}

// restart returns when sssd runs again.
func (t *tool) restart(ctx context.Context) error {
	conn, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Call(ctx, sbus.MonitorName, sbus.MonitorPath, sbus.MonitorInterface, "Restart")
	if err != nil && !errors.Is(err, sbus.ErrClosed) { // the connection ends with the old program
		return inWords(err)
	}
	select {
	case <-conn.Done():
	case <-ctx.Done():
		return errors.New(layout.Current().Monitor + " has not restarted; see its log")
	}
	for {
		services, err := t.services()
		if err == nil && services[0].State == sbus.StateRunning {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New(layout.Current().Monitor+" does not come back; see its log"), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// reportPending prints what is not in force after a restart.
func (t *tool) reportPending(ctx context.Context, out io.Writer) error {
	services, err := t.describe(ctx)
	if err != nil {
		return err
	}
	var problem error
	for _, s := range services {
		if len(s.pending) == 0 && !s.replaced {
			continue
		}
		problem = errFound
		fmt.Fprintf(out, "%s goes on, since its caches are in memory only and would be lost. Until it ends:\n", s.Name)
		if len(s.pending) > 0 {
			fmt.Fprintf(out, "  not in force: %s\n", strings.Join(s.pending, ", "))
		}
		if s.replaced {
			fmt.Fprintf(out, "  it runs its old program, version %s\n", orDash(s.version))
		}
	}
	return problem
}
