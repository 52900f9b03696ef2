package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder"
)

// Where systemd holds the sockets it holds those with an identity as well: it
// alone keeps them over restarts of sssd and of the responder. What they are is
// in sssd.conf, so sssd writes a socket unit for each, which lasts until the
// next boot, at which sssd writes it again.

// unitDir is where units are that the next boot does not have (systemd.unit(5)).
const unitDir = "/run/systemd/system"

// unitMark begins the units that the monitor has written.
const unitMark = "# Written from sssd.conf; what is changed here is lost.\n"

// Bounds of what systemd is asked for.
const (
	unitTime  = 30 * time.Second
	unitTries = 10 // a client may have the responder started before its new socket
)

// unitsOf are the texts of the service's socket units, by the names of their files.
func unitsOf(d responder.Descriptor, sockets []responder.IdentitySocket) (map[string]string, error) {
	units := map[string]string{}
	service := strings.ReplaceAll(d.Program(), "_", "-")
	for _, s := range sockets {
		uid, gid, err := s.Owner()
		if err != nil {
			return nil, err
		}
		owner := fmt.Sprint(uid)
		if gid != linux.AnyID {
			owner += fmt.Sprintf(":%d", gid)
		}
		// SocketUser= takes no uid that has no name. A directory that systemd has to
		// make keeps everybody out: it may be what keeps strangers from the socket.
		units[service+"-"+s.Name+".socket"] = unitMark + fmt.Sprintf(`[Unit]
Description=Identity socket %[1]s of sssd.conf, whose clients count as uid %[2]d
Documentation=man:sssd-kcm(8)

[Socket]
ListenStream=%[3]s
SocketMode=%04[4]o
DirectoryMode=0700
ExecStartPost=/bin/chown -h %[5]s %[3]s
FileDescriptorName=%[6]s
Service=%[7]s.service
RemoveOnStop=yes
`, s.Name, uid, s.Path, s.Mode, owner, s.FDName(), service)
	}
	return units, nil
}

// unitChanges are the differences between the units that are there and those
// that are wanted.
type unitChanges struct {
	service string            // of whose sockets they are
	dir     string            // unitDir
	write   map[string]string // new or changed, by name
	remove  []string
	wanted  []string
}

// unitChangesOf compares the units of dir with those that are wanted.
func unitChangesOf(d responder.Descriptor, dir string, wanted map[string]string) (unitChanges, error) {
	service := strings.ReplaceAll(d.Program(), "_", "-")
	c := unitChanges{service: service + ".service", dir: dir, write: map[string]string{}}
	for name, text := range wanted {
		c.wanted = append(c.wanted, name)
		if is, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(is) != text {
			c.write[name] = text
		}
	}
	slices.Sort(c.wanted)
	present, err := filepath.Glob(filepath.Join(dir, service+"-*.socket"))
	if err != nil {
		return c, err
	}
	for _, path := range present {
		text, err := os.ReadFile(path)
		if _, still := wanted[filepath.Base(path)]; err == nil && !still && strings.HasPrefix(string(text), unitMark) {
			c.remove = append(c.remove, filepath.Base(path))
		}
	}
	return c, nil
}

// apply writes and removes the files.
func (c unitChanges) apply() error {
	for name, text := range c.write {
		if err := linux.Replace(filepath.Join(c.dir, name), 0o644, func(f *os.File) error {
			_, err := f.WriteString(text)
			return err
		}); err != nil {
			return err
		}
	}
	for _, name := range c.remove {
		if err := os.Remove(filepath.Join(c.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// openUnits sees to it that systemd has the service's identity sockets, as they
// are configured. systemd adds none to a responder that runs, which is then
// stopped: the answer is whether. One with caches in memory is left alone.
func (m *monitor) openUnits(ctx context.Context, s *service, volatile bool) (stopped bool) {
	sockets := s.descriptor.IdentitySockets(m.root, m.conf)
	if m.root.Within() {
		if len(sockets) > 0 {
			m.log.Error("identity sockets are missing: systemd holds the sockets, and has no units below --root", "service", s.descriptor.Name)
		}
		return false
	}
	wanted, err := unitsOf(s.descriptor, sockets)
	var changes unitChanges
	if err == nil {
		changes, err = unitChangesOf(s.descriptor, unitDir, wanted)
	}
	if err == nil && len(changes.wanted)+len(changes.remove) > 0 {
		if volatile {
			m.log.Warn("identity sockets stay as they are until the responder with caches in memory has ended, and "+layout.Current().Monitor+" starts again", "service", s.descriptor.Name)
			return false
		}
		ctx, cancel := context.WithTimeout(ctx, unitTime)
		defer cancel()
		stopped, err = changes.bringIntoForce(ctx)
	}
	if err != nil {
		m.log.Error("systemd does not have the identity sockets as they are configured", "service", s.descriptor.Name, "error", err)
	}
	return stopped
}

// bringIntoForce has systemd take the units over. Sockets that are as they were
// stay open, with the clients that wait there.
func (c unitChanges) bringIntoForce(ctx context.Context) (stopped bool, err error) {
	systemd, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return false, fmt.Errorf("systemd: %w", err)
	}
	defer systemd.Close()
	for _, name := range slices.Concat(c.remove, slices.Sorted(maps.Keys(c.write))) {
		if err := c.close(ctx, systemd, name); err != nil {
			return false, err
		}
	}
	if len(c.write)+len(c.remove) > 0 {
		if err := c.apply(); err != nil {
			return false, err
		}
		if err := systemd.ReloadContext(ctx); err != nil {
			return false, fmt.Errorf("daemon-reload: %w", err)
		}
	}
	for try := 1; ; try++ {
		var closed []string
		for _, name := range c.wanted {
			state, err := systemd.GetUnitPropertyContext(ctx, name, "ActiveState")
			if err != nil {
				return stopped, fmt.Errorf("%s: %w", name, err)
			}
			if state.Value.Value() != "active" {
				closed = append(closed, name)
			}
		}
		if len(closed) == 0 {
			return stopped, nil
		}
		stopped = true
		if err = c.open(ctx, systemd, closed); err != nil && try == unitTries {
			return stopped, err
		}
	}
}

// close stops a socket whose unit is changed or removed; a new one is none yet.
func (c unitChanges) close(ctx context.Context, systemd *dbus.Conn, socket string) error {
	done := make(chan string, 1)
	_, err := systemd.StopUnitContext(ctx, socket, "replace", done)
	if unknown, ok := errors.AsType[godbus.Error](err); ok && unknown.Name == "org.freedesktop.systemd1.NoSuchUnit" {
		return nil
	} else if err != nil {
		return fmt.Errorf("stopping %s: %w", socket, err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping %s: %w", socket, ctx.Err())
	}
}

// open starts sockets together with stopping the responder: systemd does the
// latter first, and lets no client start the responder again in between.
func (c unitChanges) open(ctx context.Context, systemd *dbus.Conn, sockets []string) error {
	done := make(chan string, 1+len(sockets))
	if _, err := systemd.StopUnitContext(ctx, c.service, "replace", done); err != nil {
		return fmt.Errorf("stopping %s: %w", c.service, err)
	}
	begun := 1
	var problems []error
	for _, name := range sockets {
		if _, err := systemd.StartUnitContext(ctx, name, "replace", done); err != nil {
			problems = append(problems, fmt.Errorf("starting %s: %w", name, err))
			continue
		}
		begun++
	}
	for range begun {
		select {
		case result := <-done:
			if result != "done" {
				problems = append(problems, fmt.Errorf("a job for %s or its sockets: %s; see systemctl status", c.service, result))
			}
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", c.service, ctx.Err())
		}
	}
	return errors.Join(problems...)
}
