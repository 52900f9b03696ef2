package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"gosssd/cmd/sssctl/explain"
	"gosssd/kcm"
	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
	"gosssd/layout"
)

// exitNoSuch is the exit code where there is no such cache, as systemctl has it
// for units.
const exitNoSuch = 4

// caches is a client of sssd_kcm by the socket of every Kerberos program, where
// sssd_kcm decides who may see what: users their own caches, root those of all.
type caches struct{ *client.Client }

func (t *tool) openCaches() (c caches, err error) {
	sockets, err := t.socketsOfClients()
	for _, socket := range sockets {
		c = caches{client.New(socket, moveTime)}
		if err = c.Connect(); err == nil {
			return c, nil
		}
	}
	return c, fmt.Errorf("sssd_kcm cannot be reached: %w", err)
}

// socketsOfClients are the sockets to be tried, in order. Who may not read the
// configuration, which is root's, finds the server as libkrb5 does.
func (t *tool) socketsOfClients() ([]string, error) {
	socket, err := t.kcmSocket()
	if err == nil {
		return []string{socket}, nil
	} else if !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	uid := uint32(os.Geteuid())
	return t.usualSockets(explain.ReadKrb5(t.krb5Files(), os.Getenv, uid, userName(uid)).Socket.Value), nil
}

// usualSockets are where the server is looked for without its configuration: where
// krb5.conf says, if it does, and where it is by default.
func (t *tool) usualSockets(named string) (sockets []string) {
	if named != "" {
		sockets = append(sockets, named)
	}
	return append(sockets, t.root.Path(kcm.Descriptor().Socket))
}

// withCaches calls do with an open client.
func (t *tool) withCaches(do func(caches) error) error {
	kept, err := t.openCaches()
	if err != nil {
		return err
	}
	defer func() { _ = kept.Close() }()
	return do(kept)
}

// code is the code that sssd_kcm has answered with; OK if the error is another.
func code(err error) protocol.Code {
	if refused, ok := errors.AsType[*client.Error](err); ok {
		return refused.Code
	}
	return protocol.OK
}

// cacheRefusal is a refusal of sssd_kcm in words for a person.
func cacheRefusal(name string, err error) error {
	switch code(err) {
	case protocol.OK:
		return err
	case protocol.NoFile, protocol.BadName:
		return exit{fmt.Errorf("there is no cache %q among those that you may see; '%s ccache list' shows them", name, layout.Current().Tool), exitNoSuch}
	case protocol.Perm:
		return fmt.Errorf("%q: permission denied", name)
	}
	return fmt.Errorf("%q: sssd_kcm answers %v", name, code(err))
}

// isGone reports whether an error is that there is no such cache.
func isGone(err error) bool {
	coded, ok := errors.AsType[exit](err)
	return ok && coded.code == exitNoSuch
}

// names returns the caller's caches in their order.
func (c caches) names() ([]string, error) {
	ids, err := c.Call(protocol.OpGetCacheUUIDList)
	if code(err) == protocol.NoFile {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var names []string
	for r := protocol.NewReader(ids); r.Len() > 0 && r.Err() == nil; {
		id := r.UUID()
		name, err := c.Call(protocol.OpGetCacheByUUID, id[:])
		if code(err) == protocol.End {
			continue // it was destroyed meanwhile
		} else if err != nil {
			return nil, err
		}
		names = append(names, strings.TrimSuffix(string(name), "\x00"))
	}
	return names, nil
}

// named returns the name that was given, or that of the default cache.
func (c caches) named(args []string) (string, error) {
	if len(args) > 0 {
		return cacheName(args[0]), nil
	}
	return c.Default()
}

// cacheName is a cache's name as it may be given: with its type, as klist prints
// it, or without.
func cacheName(given string) string { return strings.TrimPrefix(given, "KCM:") }

// contents is a cache with what is in it. Keys and tickets stay here.
type contents struct {
	kcm.Listed
	credentials []protocol.Credential
	offset      int64 // seconds by which the KDC's clock is ahead
}

// read looks into a cache. One that has no principal yet is none to any client.
func (c caches) read(name string) (contents, error) {
	x := contents{Listed: kcm.Listed{Name: name, UID: uint32(os.Geteuid())}}
	raw, err := c.Call(protocol.OpGetPrincipal, protocol.AppendName(nil, name))
	if err != nil {
		return x, cacheRefusal(name, err)
	}
	r := protocol.NewReader(raw)
	principal := r.Principal()
	x.Principal = principal.String()
	raw, err = c.Call(protocol.OpGetKDCOffset, protocol.AppendName(nil, name))
	if err != nil {
		return x, cacheRefusal(name, err)
	}
	r = protocol.NewReader(raw)
	x.offset = int64(r.Int32())
	if x.credentials, err = c.Credentials(name); err != nil {
		return x, cacheRefusal(name, err)
	}
	for _, cred := range x.credentials {
		x.Size += uint64(len(protocol.AppendCredential(nil, cred)))
		if cred.Server.IsConfig() {
			continue
		}
		x.Credentials++
		if x.End == 0 && cred.Server.IsTGS() && string(cred.Server.Realm) == string(principal.Realm) {
			x.End, x.RenewTill = x.local(cred.Times.End), x.local(cred.Times.RenewTill)
		}
	}
	return x, nil
}

// local is a time of the KDC by this machine's clock; 0 is none.
func (x contents) local(kdcs uint32) int64 {
	if kdcs == 0 {
		return 0
	}
	return int64(kdcs) - x.offset
}

// mine describes the caller's caches, as far as every Kerberos program may know.
func (c caches) mine() ([]contents, error) {
	names, err := c.names()
	if err != nil {
		return nil, err
	}
	preferred, err := c.Default()
	if err != nil {
		return nil, err
	}
	var list []contents
	for _, name := range names {
		x, err := c.read(name)
		if isGone(err) {
			continue // it was destroyed meanwhile, or has no principal yet
		} else if err != nil {
			return nil, err
		}
		x.Default = name == preferred
		list = append(list, x)
	}
	return list, nil
}
