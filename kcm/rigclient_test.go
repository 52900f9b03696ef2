package kcm

import (
	"context"
	"encoding/binary"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	kcmclient "gosssd/kcm/client"
	"gosssd/kcm/protocol"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/responder/log"
)

// client is one connection to the rig's server.
type client struct {
	*kcmclient.Client
	t    testing.TB
	uid  uint32
	conn net.Conn
}

func (r *rig) client(uid uint32) *client {
	r.t.Helper()
	near, far := socketPair(r.t)
	served := make(chan struct{})
	peer := responder.Peer{UID: uid, GID: uid + 1, PID: int32(os.Getpid())}
	logger := log.To(r.logged, r.mask)
	go func() {
		defer close(served)
		defer far.Close()
		s := newSession(r.server, peer, logger)
		s.process = func() (*linux.Process, error) { return linux.OpenProcess(os.Getpid()) }
		s.serve(context.Background(), untimed{far})
	}()
	r.t.Cleanup(func() {
		near.Close()
		<-served
	})
	c := kcmclient.Over(func() (io.ReadWriteCloser, error) { return near, nil }, 0)
	if err := c.Connect(); err != nil {
		r.t.Fatal(err)
	}
	return &client{Client: c, t: r.t, uid: uid, conn: near}
}

func socketPair(t testing.TB) (near, far *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socketpair")
		conn, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		file.Close()
		ends[i] = conn.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// call sends a request and returns its reply.
func (c *client) call(op protocol.Op, params ...[]byte) protocol.Reply {
	c.t.Helper()
	if _, err := c.conn.Write(protocol.AppendRequest(nil, protocol.Request{Op: op, Params: slices.Concat(params...)})); err != nil {
		c.t.Fatalf("%v: %v", op, err)
	}
	reply, err := c.receive()
	if err != nil {
		c.t.Fatalf("%v: %v", op, err)
	}
	return reply
}

func (c *client) receive() (protocol.Reply, error) {
	reply, err := c.Receive()
	reply.Results = slices.Clone(reply.Results)
	return reply, err
}

// must sends a request that has to succeed and returns its results.
func (c *client) must(op protocol.Op, params ...[]byte) []byte {
	c.t.Helper()
	reply := c.call(op, params...)
	if reply.Outer != 0 || reply.Inner != 0 {
		c.t.Fatalf("%v as %d: outer %v, inner %v", op, c.uid, reply.Outer, reply.Inner)
	}
	return reply.Results
}

// refused sends a request that has to end with the given inner code.
func (c *client) refused(want protocol.Code, op protocol.Op, params ...[]byte) {
	c.t.Helper()
	if reply := c.call(op, params...); reply.Outer != 0 || reply.Inner != want {
		c.t.Fatalf("%v as %d: outer %v, inner %v, want inner %v", op, c.uid, reply.Outer, reply.Inner, want)
	}
}

// notRun sends a request that has to end with the given outer code.
func (c *client) notRun(want protocol.Code, op protocol.Op, params ...[]byte) {
	c.t.Helper()
	if reply := c.call(op, params...); reply.Outer != want {
		c.t.Fatalf("%v as %d: outer %v, inner %v, want outer %v", op, c.uid, reply.Outer, reply.Inner, want)
	}
}

func name(s string) []byte  { return protocol.AppendName(nil, s) }
func u32(n uint32) []byte   { return binary.BigEndian.AppendUint32(nil, n) }
func u16(n uint16) []byte   { return binary.BigEndian.AppendUint16(nil, n) }
func princ(s string) []byte { return protocol.AppendPrincipal(nil, principalOf(s)) }

func principalOf(s string) protocol.Principal {
	names, realm, _ := strings.Cut(s, "@")
	p := protocol.Principal{Type: 1, Realm: []byte(realm)}
	for component := range strings.SplitSeq(names, "/") {
		p.Components = append(p.Components, []byte(component))
	}
	return p
}

const realm = "EXAMPLE.ORG"

// ticket returns a credential that lasts until end, seconds after the rig's start.
func ticket(clientName, server string, end int) protocol.Credential {
	return protocol.Credential{
		Client: principalOf(clientName + "@" + realm), Server: principalOf(server),
		Key:    protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)},
		Times:  protocol.Times{Auth: startOfTime, Start: startOfTime, End: uint32(startOfTime + end)},
		Ticket: []byte("ticket for " + server),
	}
}

const tgs = "krbtgt/" + realm + "@" + realm

func tgt(clientName string) []byte { return raw(ticket(clientName, tgs, 36000)) }

func service(clientName, server string) []byte {
	return raw(ticket(clientName, server+"@"+realm, 36000))
}

func raw(c protocol.Credential) []byte { return protocol.AppendCredential(nil, c) }

// login is a kinit in the way of krb5 since 1.20.
func (c *client) login(cacheName, who string) {
	c.t.Helper()
	c.must(protocol.OpReplace, name(cacheName), u32(0), princ(who+"@"+realm), protocol.AppendCredentialList(nil, [][]byte{tgt(who)}))
}

// caches returns the names of the client's caches in their order.
func (c *client) caches() []string {
	c.t.Helper()
	reply := c.call(protocol.OpGetCacheUUIDList)
	if reply.Inner == protocol.NoFile {
		return nil
	}
	var names []string
	for id := range slices.Chunk(reply.Results, 16) {
		names = append(names, strings.TrimSuffix(string(c.must(protocol.OpGetCacheByUUID, id)), "\x00"))
	}
	return names
}

func (c *client) defaultName() string {
	c.t.Helper()
	return strings.TrimSuffix(string(c.must(protocol.OpGetDefaultCache)), "\x00")
}

// servers returns the services of a cache's credentials in their order.
func (c *client) servers(cacheName string) []string {
	c.t.Helper()
	r := protocol.NewReader(c.must(protocol.OpGetCredList, name(cacheName)))
	var servers []string
	for _, raw := range r.CredentialList() {
		cred, err := protocol.ParseCredential(raw)
		if err != nil {
			c.t.Fatal(err)
		}
		servers = append(servers, cred.Server.String())
	}
	if r.Err() != nil || r.Len() > 0 {
		c.t.Fatalf("list of credentials: %v, %d bytes behind it", r.Err(), r.Len())
	}
	return servers
}

func equal[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// untimed is a connection that does not tell when it was active.
type untimed struct{ *net.UnixConn }

func (untimed) Active() time.Duration { return 0 }
func (untimed) Touch()                {}
