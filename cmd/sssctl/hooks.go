package main

import (
	"context"
	"fmt"
	"io"

	"github.com/godbus/dbus/v5"

	"gosssd/sbus"
)

// printHooks prints how often [kcm] ticket_hook was started, if there is one.
func (t *tool) printHooks(out io.Writer, services []description) error {
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
	reply, err := m.call(ctx, sbus.ServiceInterface, sbus.ServicePath, "Counters")
	if err != nil {
		return nil // it has ended, or does not answer, which was said above
	}
	var counters map[string]uint64
	if err := dbus.Store(reply, &counters); err != nil {
		return fmt.Errorf("the answer of sssd_kcm cannot be read: %w", err)
	}
	if run, set := counters["hooks run"]; set {
		fmt.Fprintf(out, "\nTicket hooks: %d run, %d failed, %d left out, %d waiting\n",
			run, counters["hooks failed"], counters["hooks left out"], counters["hooks waiting"])
	}
	return nil
}

// kcmRuns reports whether sssd_kcm can be asked.
func kcmRuns(services []description) bool {
	for _, s := range services {
		if s.Name == "kcm" && s.State == sbus.StateRunning {
			return true
		}
	}
	return false
}
