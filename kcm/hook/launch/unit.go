package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"gosssd/kcm/hook"
	"gosssd/linux"
)

// transient has systemd start a program in a unit of its own. This process
// needs no privileges for that but to be root: systemd becomes the user, with
// the groups that a directory service gives him, and holds the limits.
type transient struct {
	path    string
	timeout time.Duration
}

// grace is how long systemd may take besides the program: to start it, and to
// end it in the hard way.
const grace = 10 * time.Second

// Run implements hook.Starter.
func (t *transient) Run(ctx context.Context, e hook.Event) error {
	if problem := checkProgram(t.path); problem != "" {
		return errors.New(problem)
	}
	return withSystemd(ctx, func(ctx context.Context, conn *systemd.Conn) error {
		unit := fmt.Sprintf("ticket-hook-%d-%s.service", e.UID, unique())
		return await(ctx, conn, unit, func(ctx context.Context, ended chan<- string) error {
			_, err := conn.StartTransientUnitContext(ctx, unit, "replace", t.properties(e), ended)
			return err
		})
	})
}

// execStart is a command line in D-Bus form: (sasb).
type execStart struct {
	Path   string
	Argv   []string
	Unsafe bool // a failure counts as success
}

// properties are those of systemd.service(5) and systemd.exec(5).
func (t *transient) properties(e hook.Event) []systemd.Property {
	var properties []systemd.Property
	for _, p := range []struct {
		name  string
		value any
	}{
		{"Description", fmt.Sprintf("Ticket hook of uid %d: %s", e.UID, e.Kind)},
		{"Type", "oneshot"},
		{"ExecStart", []execStart{{t.path, []string{t.path}, false}}},
		{"User", strconv.FormatUint(uint64(e.UID), 10)},
		{"Environment", environment(e)},
		{"NoNewPrivileges", true},
		{"CollectMode", "inactive-or-failed"},
		{"TimeoutStartUSec", uint64((t.timeout + grace).Microseconds())}, // if this process is not there any more to end it
		{"TimeoutStopUSec", uint64(2_000_000)},
		{"LogRateLimitIntervalUSec", uint64(60_000_000)},
		{"LogRateLimitBurst", uint32(100)},
	} {
		properties = append(properties, systemd.Property{Name: p.name, Value: dbus.MakeVariant(p.value)})
	}
	return properties
}

// template has systemd start an instance of a template, which is named by the
// uid. The event is in a file from which the unit takes its environment.
type template struct {
	name      string // NAME@.service
	directory string // of such files
}

// Run implements hook.Starter.
func (t *template) Run(ctx context.Context, e hook.Event) error {
	uid := strconv.FormatUint(uint64(e.UID), 10)
	unit := strings.TrimSuffix(t.name, ".service") + uid + ".service"
	if err := os.MkdirAll(t.directory, 0o700); err != nil {
		return err
	}
	file := filepath.Join(t.directory, uid)
	err := linux.Replace(file, 0o600, func(f *os.File) error {
		_, err := f.WriteString(environmentFile(environment(e)))
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(file) }() // the next event replaces it otherwise
	return withSystemd(ctx, func(ctx context.Context, conn *systemd.Conn) error {
		if err := runsAs(ctx, conn, unit, uid); err != nil {
			return err
		}
		err := await(ctx, conn, unit, func(ctx context.Context, ended chan<- string) error {
			_, err := conn.StartUnitContext(ctx, unit, "replace", ended)
			return err
		})
		if err != nil {
			_ = conn.ResetFailedUnitContext(ctx, unit) // the log has it, and the journal more
		}
		return err
	})
}

// runsAs looks at the user of a unit: one without would run as root.
func runsAs(ctx context.Context, conn *systemd.Conn, unit, uid string) error {
	property, err := conn.GetServicePropertyContext(ctx, unit, "User")
	if err != nil {
		return fmt.Errorf("%s: %w", unit, err)
	}
	if name, _ := property.Value.Value().(string); name != uid {
		return fmt.Errorf("%s is not started: it would run as the user %q; write User=%%i in its section [Service]", unit, name)
	}
	if uid == "0" {
		return nil
	}
	for _, command := range []string{"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecStop", "ExecStopPost"} {
		property, err := conn.GetServicePropertyContext(ctx, unit, command+"Ex")
		if err != nil {
			return fmt.Errorf("%s: %w", unit, err)
		}
		if prefix := privilege(property.Value.Value()); prefix != "" {
			return fmt.Errorf("%s is not started: a command of its %s= would run as root; leave out the '%s' before it", unit, command, prefix)
		}
	}
	return nil
}

// privilege returns the prefix by which one of a unit's commands keeps root's
// rights in spite of User= (systemd.service(5), "Command lines"), or "". commands
// is a property of systemd's, whose third part has the flags of the prefixes.
func privilege(commands any) string {
	list, _ := commands.([][]any)
	for _, command := range list {
		const flags = 2
		if len(command) <= flags {
			continue
		}
		words, _ := command[flags].([]string)
		switch {
		case slices.Contains(words, "privileged"):
			return "+"
		case slices.Contains(words, "no-setuid"):
			return "!"
		}
	}
	return ""
}

// environmentFile returns lines as systemd reads them from an EnvironmentFile=
// (systemd.exec(5)): within double quotes a backslash makes itself and four
// other characters plain.
func environmentFile(environment []string) string {
	var text strings.Builder
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`)
	for _, line := range environment {
		name, value, _ := strings.Cut(line, "=")
		text.WriteString(name + `="` + escaped.Replace(value) + "\"\n")
	}
	return text.String()
}

// withSystemd calls do with a connection to systemd itself, which needs no bus.
func withSystemd(ctx context.Context, do func(context.Context, *systemd.Conn) error) error {
	// What ends a unit that takes too long goes over the connection, after ctx.
	limit, limited := ctx.Deadline()
	if !limited {
		limit = time.Now().Add(time.Hour)
	}
	connected, cancel := context.WithDeadline(context.WithoutCancel(ctx), limit.Add(2*grace))
	defer cancel()
	conn, err := systemd.NewSystemdConnectionContext(connected)
	if err != nil {
		return fmt.Errorf("systemd cannot be asked: %w", err)
	}
	defer conn.Close()
	return do(ctx, conn)
}

// await starts a unit and returns when its program has ended, if it is of
// Type=oneshot. When ctx ends, so does the unit.
func await(ctx context.Context, conn *systemd.Conn, unit string, start func(context.Context, chan<- string) error) error {
	ended := make(chan string, 1)
	if err := start(ctx, ended); err != nil {
		return fmt.Errorf("%s: %w", unit, err)
	}
	select {
	case result := <-ended:
		if result != "done" {
			return fmt.Errorf("%s: %s; see journalctl -u %s", unit, result, unit)
		}
		return nil
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	_ = conn.KillUnitWithTarget(stopping, unit, systemd.All, int32(unix.SIGKILL)) // it may have ended just now
	stopped := make(chan string, 1)
	if _, err := conn.StopUnitContext(stopping, unit, "replace", stopped); isForgotten(err) {
		stopped <- "done" // a transient unit goes with its last process
	} else if err != nil {
		return fmt.Errorf("%s took too long: %w", unit, err)
	}
	select {
	case <-stopped:
	case <-stopping.Done():
		return fmt.Errorf("%s took too long, and does not stop", unit)
	}
	return fmt.Errorf("%s took too long, and was killed", unit)
}

// isForgotten reports whether systemd does not know the unit any more.
func isForgotten(err error) bool {
	var refused dbus.Error
	return errors.As(err, &refused) && refused.Name == "org.freedesktop.systemd1.NoSuchUnit"
}
