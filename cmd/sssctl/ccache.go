package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"gosssd/cmd/responders"
	"gosssd/confdb"
	"gosssd/kcm"
	"gosssd/layout"
	"gosssd/responder"
	"gosssd/sbus"
)

// moveTime bounds the move of one user's caches, and the start of sssd_kcm.
const moveTime = time.Minute

func (t *tool) ccacheCommand() *cobra.Command {
	c := parent(&cobra.Command{
		Use:   "ccache COMMAND",
		Short: "Look after credential caches, your own or, for root, all users'",
	})
	c.AddCommand(t.ccacheListCommand(), t.ccacheShowCommand(), t.ccacheSwitchCommand(), t.ccacheDestroyCommand(), t.ccachePurgeCommand(),
		rootOnly(t.ccacheMoveCommand()), rootOnly(t.ccacheExportCommand()), rootOnly(t.ccacheImportCommand()))
	return c
}

// storages are those that caches can be moved from.
func storages() []string { return []string{kcm.StorageSecrets, kcm.StorageSecdb} }

func (t *tool) ccacheMoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "move [STORAGE]",
		Short: "Bring caches from another storage into the one in use",
		Long: "Bring the credential caches that are in another storage, after a change of ccache_storage, into the one in\n" +
			"use. STORAGE, secrets or secdb, is where they are; without it every storage is looked at that is not in use.\n" +
			"Each user's caches are removed there once they are safe here. A user who has a newer cache of the same name\n" +
			"keeps that. The command may be repeated.",
		Args:      arguments(0, 1),
		ValidArgs: storages(),
		RunE: func(c *cobra.Command, args []string) error {
			mover, err := t.openMover()
			if err != nil {
				return err
			}
			defer mover.Close()
			inUse, err := mover.storageInUse()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				args = slices.DeleteFunc(storages(), func(storage string) bool { return storage == inUse })
			}
			var problems []error
			for _, from := range args {
				problems = append(problems, mover.moveAll(c, from, inUse))
			}
			return errors.Join(problems...)
		},
	}
}

// mover calls the kcm responder over the private bus.
type mover struct {
	bus    *sbus.Conn
	client net.Conn // keeps the responder from ending
}

// openMover makes the kcm responder run and register.
func (t *tool) openMover() (*mover, error) {
	ctx, cancel := context.WithTimeout(context.Background(), moveTime)
	defer cancel()
	bus, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	m := &mover{bus: bus}
	socket, err := t.kcmSocket()
	if err == nil {
		m.client, err = new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("sssd_kcm cannot be reached: %w", err)
	}
	for {
		_, err = m.call(ctx, sbus.PeerInterface, sbus.ServicePath, "Ping")
		if err == nil {
			return m, nil
		} else if !errors.Is(err, errEnded) { // which here means that it has not begun
			m.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			m.Close()
			return nil, fmt.Errorf("sssd_kcm does not answer %s; see its log: %w", layout.Current().Monitor, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kcmSocket is where the kcm responder listens by the configuration in force.
func (t *tool) kcmSocket() (string, error) {
	schema := responder.Schema(responders.List())
	conf, err := confdb.Open(t.root.Path(layout.Current().Database), schema)
	if errors.Is(err, fs.ErrNotExist) {
		conf, err = confdb.NewSnapshot(schema, nil)
	}
	if err != nil {
		return "", err
	}
	return kcm.Descriptor().SocketPath(t.root, conf), nil
}

// Close ends the connections.
func (m *mover) Close() {
	_ = m.bus.Close()
	if m.client != nil {
		_ = m.client.Close()
	}
}

func (m *mover) call(ctx context.Context, iface string, path dbus.ObjectPath, method string, args ...any) ([]any, error) {
	reply, err := m.bus.Call(ctx, sbus.ServiceName("kcm"), path, iface, method, args...)
	return reply, plain(err)
}

// errEnded says that the responder, or sssd between it and us, has ended.
var errEnded = errors.New("sssd_kcm has ended meanwhile; repeat the command")

// plain is an error of a call in words for a person.
func plain(err error) error {
	if errors.Is(err, sbus.ErrClosed) || errors.Is(err, syscall.EPIPE) {
		return errEnded
	}
	refused, ok := errors.AsType[*sbus.Error](err)
	switch {
	case !ok:
		return err
	case refused.Name == sbus.ErrorNoReply, refused.Name == sbus.ErrorServiceUnknown:
		return errEnded
	}
	return errors.New(refused.Message) // the name of the error is for programs
}

// callKCM calls a method of the responder's own interface.
func (m *mover) callKCM(method string, args, results []any) error {
	ctx, cancel := context.WithTimeout(context.Background(), moveTime)
	defer cancel()
	reply, err := m.call(ctx, sbus.ResponderInterface("kcm"), sbus.ResponderPath("kcm"), method, args...)
	if err != nil {
		return err
	}
	return dbus.Store(reply, results...)
}

// storageInUse is the ccache_storage that the running responder has.
func (m *mover) storageInUse() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), moveTime)
	defer cancel()
	reply, err := m.call(ctx, sbus.ServiceInterface, sbus.ServicePath, "Options")
	if err != nil {
		return "", err
	}
	var options map[string]map[string]string
	if err := dbus.Store(reply, &options); err != nil {
		return "", fmt.Errorf("the responder's answer: %w", err)
	}
	return options["kcm"]["ccache_storage"], nil
}

// moveAll moves the caches of every user who has some in a storage. A user
// whose caches cannot be moved does not keep the others from theirs.
func (m *mover) moveAll(c *cobra.Command, from, to string) error {
	var uids []uint32
	if err := m.callKCM("OwnersIn", []any{from}, []any{&uids}); err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	var users, moved, dropped, damaged uint32
	var problems []error
	progress := newProgress(c, "users", len(uids))
	for i, uid := range uids {
		progress.at(i)
		var ofUser [3]uint32
		err := m.callKCM("MoveCaches", []any{from, uid}, []any{&ofUser[0], &ofUser[1], &ofUser[2]})
		if errors.Is(err, errEnded) {
			problems = append(problems, err)
			break
		} else if err != nil {
			problems = append(problems, fmt.Errorf("%s: caches that are still there: %w", from, err))
			continue
		}
		users++
		moved, dropped, damaged = moved+ofUser[0], dropped+ofUser[1], damaged+ofUser[2]
	}
	progress.end()
	fmt.Fprintf(c.OutOrStdout(), "From %s to %s: users %d, caches moved %d, older ones dropped %d, damaged records left %d\n",
		from, to, users, moved, dropped, damaged)
	return errors.Join(problems...)
}
