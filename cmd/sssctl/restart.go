package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"gosssd/sbus"
)

// restartTime bounds the wait for sssd to be back: it replaces the responders
// first, which answer what they have been sent.
const restartTime = 2 * time.Minute

func (t *tool) restartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restart",
		Short: "Put an edited sssd.conf into force",
		Long: "Check sssd.conf and, if it is right, start sssd again in its process. No client is refused meanwhile, also\n" +
			"where sssd itself and not systemd holds the responders' sockets.",
		Args: arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), restartTime)
			defer cancel()
			conn, err := t.dial(ctx)
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Call(ctx, sbus.MonitorName, sbus.MonitorPath, sbus.MonitorInterface, "Restart")
			if err != nil && !errors.Is(err, sbus.ErrClosed) { // the answer may be lost with the old program
				return err
			}
			select {
			case <-conn.Done():
			case <-ctx.Done():
				return errors.New("sssd has not restarted; see its log")
			}
			return t.awaitMonitor(ctx)
		},
	}
}

// awaitMonitor returns when sssd says that it is ready, or the context ends.
func (t *tool) awaitMonitor(ctx context.Context) error {
	for {
		services, err := t.services()
		if err == nil && services[0].State == sbus.StateRunning {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("sssd does not come back; see its log"), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
