package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"gosssd/layout"
	"gosssd/responder/log"
	"gosssd/sbus"
)

type status = sbus.ServiceStatus

// callTime bounds what a command waits for the monitor.
const callTime = 10 * time.Second

// errNotRunning says that no monitor serves the private bus.
const errNotRunning = sentence("SSSD is not running.")

// monitor calls a method of the monitor.
func (t *tool) monitor(method string, args ...any) ([]any, error) {
	return t.call(sbus.MonitorInterface, method, args...)
}

func (t *tool) call(iface, method string, args ...any) ([]any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reply, err := conn.Call(ctx, sbus.MonitorName, sbus.MonitorPath, iface, method, args...)
	if refused, ok := errors.AsType[*sbus.Error](err); ok {
		return nil, errors.New(refused.Message) // the name of the error is for programs
	}
	return reply, err
}

func (t *tool) dial(ctx context.Context) (*sbus.Conn, error) {
	conn, err := sbus.Dial(ctx, t.root.Path(layout.Current().Bus), nil, t.log)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		t.log.Debug("nobody serves the private bus", "error", err)
		return nil, errNotRunning
	case err != nil:
		return nil, fmt.Errorf("cannot reach SSSD: %w", err)
	}
	return conn, nil
}

func (t *tool) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what runs, since when, and with which configuration",
		Args:  arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			services, err := t.services()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "SERVICE\tSTATE\tPID\tSINCE\tGENERATION\tDEBUG LEVEL\tRESTARTS\tLAST EXIT")
			for _, s := range services {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", s.Name, s.State, number(uint64(s.PID)), since(s.Since),
					number(s.Generation), level(s.DebugLevel), s.Restarts, orDash(s.LastExit))
			}
			return w.Flush()
		},
	}
}

// services returns the status of the monitor and of every responder.
func (t *tool) services() ([]status, error) {
	reply, err := t.monitor("ListServices")
	if err != nil {
		return nil, err
	}
	var services []status
	if err := dbus.Store(reply, &services); err != nil {
		return nil, fmt.Errorf("the monitor's answer: %w", err)
	}
	return services, nil
}

func number(n uint64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatUint(n, 10)
}

func since(unix int64) string {
	if unix == 0 {
		return "-"
	}
	return time.Unix(unix, 0).Format(time.DateTime)
}

func level(mask uint32) string {
	if mask == 0 {
		return "-"
	}
	return log.Level(mask).String()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
