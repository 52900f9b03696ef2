package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"gosssd/cmd/responders"
	"gosssd/cmd/sssctl/output"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/sbus"
)

type status = sbus.ServiceStatus

// callTime bounds what a command waits for the monitor, and probeTime what
// status waits for a responder to answer a request.
const (
	callTime  = 10 * time.Second
	probeTime = 3 * time.Second
)

// errNotRunning says that no monitor serves the private bus.
var errNotRunning = sentence(layout.Current().Service + " is not running.")

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
	return reply, inWords(err)
}

// inWords is an error of the bus in words for a person: names of errors and
// methods are for programs.
func inWords(err error) error {
	if refused, ok := errors.AsType[*sbus.Error](err); ok {
		return errors.New(refused.Message)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New(layout.Current().Monitor + " runs, but does not answer")
	case errors.Is(err, sbus.ErrClosed):
		return errors.New(layout.Current().Monitor + " has ended before it answered")
	}
	return err
}

func (t *tool) dial(ctx context.Context) (*sbus.Conn, error) {
	conn, err := sbus.Dial(ctx, t.root.Path(layout.Current().Bus), nil, t.log)
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		t.log.Debug("nobody serves the private bus", "error", err)
		return nil, errNotRunning
	case errors.Is(err, context.DeadlineExceeded):
		return nil, inWords(err)
	case err != nil:
		return nil, fmt.Errorf("cannot reach %s: %w", layout.Current().Service, err)
	}
	return conn, nil
}

func (t *tool) statusCommand() *cobra.Command {
	var printing *output.Options
	c := &cobra.Command{
		Use:   "status",
		Short: "Show whether all is well: what runs, since when, with which configuration, and what it does",
		Long: "Show what runs, since when, with which configuration and in which version, whether it answers, and what it does.\n" +
			"The exit status is 1 if something is not well, and 3 if " + layout.Current().Monitor + " does not run.",
		Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			var last error // what is not well does not end --watch
			var seen look
			err := t.show(c, printing, func() (listing output.Listing, err error) {
				listing, last = t.status(&seen)
				if !printing.Watches() {
					return listing, last
				}
				return listing, nil
			})
			if printing.Watches() {
				err = errors.Join(err, last)
			}
			return err
		},
	}
	printing = output.Add(c)
	return c
}

// status describes everything once, and remembers it for the rates of the next
// look. The error says what is not well.
func (t *tool) status(seen *look) (output.Listing, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	var services []description
	conn, err := t.dial(ctx)
	if err == nil {
		defer conn.Close()
		services, err = describeOver(ctx, conn)
	}
	if errors.Is(err, errNotRunning) {
		services = t.orphans()
		err = exit{errNotRunning, exitNotRunning}
		if len(services) == 0 {
			return output.Listing{}, err
		}
	} else if err != nil {
		return output.Listing{}, err
	}
	problem := t.probe(services)
	var text strings.Builder
	printed := errors.Join(printRenewal(&text, conn, services), printHooks(&text, conn, services))
	parts := []output.Part{{Table: statusTable(services)}, {Text: text.String()}}
	answer := statusAnswer{Services: shownServices(services)}
	if err == nil {
		h, unknown := t.healthNow(ctx, conn, seen)
		if h != nil {
			answer.health, answer.Well = h, problem == nil
			parts = append(parts, h.parts()...)
		}
		printed = errors.Join(printed, unknown)
	}
	return output.Listing{Parts: parts, JSON: answer}, errors.Join(err, printed, problem)
}

// healthNow is what is known by metrics.
func (t *tool) healthNow(ctx context.Context, conn *sbus.Conn, seen *look) (*health, error) {
	families, err := metricsOver(ctx, conn)
	if err != nil {
		return nil, err
	}
	h := t.healthOf(families)
	*seen = h.ratesSince(*seen, time.Now())
	return h, nil
}

// statusAnswer is what status --json prints.
type statusAnswer struct {
	Well     bool           `json:"well"`
	Services []shownService `json:"services"`
	*health
}

// shownService is a service in it.
type shownService struct {
	Name       string     `json:"name"`
	State      string     `json:"state"`
	PID        uint32     `json:"pid"`
	Since      *time.Time `json:"since"`
	Generation uint64     `json:"generation"`
	DebugLevel uint32     `json:"debug_level"`
	Restarts   uint32     `json:"restarts"`
	LastExit   string     `json:"last_exit"`
	Socket     string     `json:"socket"`
	Version    string     `json:"version"`
	Replaced   bool       `json:"replaced"`
	Pending    []string   `json:"pending"`
}

func shownServices(services []description) []shownService {
	list := []shownService{}
	for _, s := range services {
		list = append(list, shownService{s.Name, s.State, s.PID, output.UTC(s.Since), s.Generation, s.DebugLevel, s.Restarts, s.LastExit, s.Socket,
			s.version, s.replaced, append([]string{}, s.pending...)})
	}
	return list
}

// description is what status shows of a service.
type description struct {
	status
	version  string
	replaced bool     // another program is installed where its own was
	pending  []string // options that are not in force
}

// describe asks the monitor for the services, and each that runs for the rest.
func (t *tool) describe(ctx context.Context) ([]description, error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return describeOver(ctx, conn)
}

// describeOver is describe over a connection.
func describeOver(ctx context.Context, conn *sbus.Conn) ([]description, error) {
	services, err := listServices(ctx, conn)
	if err != nil {
		return nil, err
	}
	var list []description
	for i, s := range services {
		name, path, iface := sbus.ServiceName(s.Name), sbus.ServicePath, sbus.ServiceInterface
		if i == 0 {
			name, path, iface = sbus.MonitorName, sbus.MonitorPath, sbus.MonitorInterface
		}
		d := description{status: s}
		if s.State == sbus.StateRunning {
			values := properties(ctx, conn, name, path, iface)
			d.version, _ = values["Version"].Value().(string)
			d.replaced, _ = values["Replaced"].Value().(bool)
			d.pending, _ = values["Pending"].Value().([]string)
		}
		list = append(list, d)
	}
	return list, nil
}

// properties are those of one object; none if it does not answer.
func properties(ctx context.Context, conn *sbus.Conn, name string, path dbus.ObjectPath, iface string) map[string]dbus.Variant {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var values map[string]dbus.Variant
	reply, err := conn.Call(ctx, name, path, sbus.PropertiesInterface, "GetAll", iface)
	if err != nil || dbus.Store(reply, &values) != nil {
		return nil
	}
	return values
}

// stateOrphan is that of a responder that serves although no monitor runs.
func stateOrphan() string { return "running without " + layout.Current().Monitor }

// orphans are the responders that serve although no sssd runs.
func (t *tool) orphans() []description {
	var list []description
	for _, d := range responders.List() {
		pid := responder.HolderPID(t.root.Path(d.ClaimPath()))
		if pid == 0 {
			continue
		}
		list = append(list, description{status: status{Name: d.Name, State: stateOrphan(), PID: uint32(pid), Socket: t.root.Path(d.Socket)}})
	}
	return list
}

// probe says what is not well: services that are not in order, and those that
// run but answer no request. It asks only those that run.
func (t *tool) probe(services []description) error {
	var problem error
	unwell := func(s description, what any) {
		fmt.Fprintf(os.Stderr, "%s is not well: %v\n", s.Name, what)
		problem = errFound
	}
	for i, s := range services {
		switch s.State {
		case sbus.StateStarting:
			if s.Name == layout.Current().Monitor { // what it says of the others is not true yet
				unwell(s, "it is taking over, and is not ready yet")
			}
		case sbus.StateBackOff:
			unwell(s, "it cannot be started, "+orDash(s.LastExit))
		case sbus.StateRunning, stateOrphan():
			for _, d := range responders.List() {
				if d.Name != s.Name {
					continue
				}
				ctx, cancel := context.WithTimeout(context.Background(), probeTime)
				if err := d.Probe.Try(ctx, s.Socket); err != nil {
					services[i].State += ", but not well"
					unwell(s, err)
				}
				cancel()
			}
		}
	}
	return problem
}

func statusTable(services []description) output.Table {
	table := output.Table{
		Heading:  []string{"SERVICE", "STATE", "PID", "SINCE", "GENERATION", "DEBUG LEVEL", "RESTARTS", "VERSION", "LAST EXIT"},
		Optional: []string{"DEBUG LEVEL", "GENERATION"},
	}
	for _, s := range services {
		version := orDash(s.version)
		if s.replaced {
			version += " (replaced)"
		}
		table.Rows = append(table.Rows, texts(s.Name, s.State, number(uint64(s.PID)), since(s.Since), number(s.Generation),
			level(s.DebugLevel), fmt.Sprint(s.Restarts), version, s.LastExit))
	}
	return table
}

// texts is a row of texts.
func texts(of ...string) (row []output.Cell) {
	for _, text := range of {
		row = append(row, output.Text(text))
	}
	return row
}

// services returns the status of the monitor and of every responder.
func (t *tool) services() ([]status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return listServices(ctx, conn)
}

// listServices asks for the status of the monitor and of every responder.
func listServices(ctx context.Context, conn *sbus.Conn) ([]status, error) {
	reply, err := conn.Call(ctx, sbus.MonitorName, sbus.MonitorPath, sbus.MonitorInterface, "ListServices")
	if err != nil {
		return nil, inWords(err)
	}
	var services []status
	if err := dbus.Store(reply, &services); err != nil {
		return nil, fmt.Errorf("the answer of %s cannot be read: %w", layout.Current().Monitor, err)
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
