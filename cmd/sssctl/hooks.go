package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/godbus/dbus/v5"

	"gosssd/sbus"
)

// printHooks prints how often [kcm] ticket_hook was started, if there is one.
func printHooks(out io.Writer, bus *sbus.Conn, services []description) error {
	var counters map[string]uint64
	told, err := askRunning(bus, services, sbus.ServiceInterface, sbus.ServicePath, "Counters", &counters)
	if !told {
		return err
	}
	if run, set := counters["hooks run"]; set {
		fmt.Fprintf(out, "\nTicket hooks: %d run, %d failed, %d left out, %d waiting\n",
			run, counters["hooks failed"], counters["hooks left out"], counters["hooks waiting"])
	}
	return nil
}

// askRunning calls a method of sssd_kcm where that runs. told is false where it
// does not, and where it has ended or does not answer, which status says besides.
func askRunning(bus *sbus.Conn, services []description, iface string, path dbus.ObjectPath, method string, results ...any) (told bool, err error) {
	if bus == nil || !slices.ContainsFunc(services, func(s description) bool { return s.Name == "kcm" && s.State == sbus.StateRunning }) {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	reply, err := (&mover{bus: bus}).call(ctx, iface, path, method)
	if err != nil {
		return false, nil
	}
	if err := dbus.Store(reply, results...); err != nil {
		return false, fmt.Errorf("the answer of sssd_kcm cannot be read: %w", err)
	}
	return true, nil
}
