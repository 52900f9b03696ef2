package tests

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// caller is somebody who connects to sssd_kcm.
type caller struct {
	what    string
	uid     user
	gid     user
	socket  string // "" is the main one
	unshare string // options of unshare(1): the user namespace the peer is in
	counts  user   // whom sssd_kcm takes it for
}

// stranger has nothing to do with alice, bob or root.
const stranger user = 20088

var callers = []caller{
	{what: "owner", uid: alice, gid: alice, counts: alice},
	{what: "same uid, other gid", uid: alice, gid: bob, counts: alice},
	{what: "other uid", uid: bob, gid: bob, counts: bob},
	{what: "other uid, same gid", uid: bob, gid: alice, counts: bob},
	{what: "root", uid: 0, gid: 0, counts: 0},
	{what: "mapped root", uid: stranger, gid: stranger, unshare: "--user --map-root-user", counts: stranger},
	{what: "mapped to alice", uid: stranger, gid: stranger, unshare: "--user --map-user=20001", counts: stranger},
	{what: "not mapped", uid: stranger, gid: stranger, unshare: "--user", counts: stranger},
	{what: "uid 65534", uid: 65534, gid: 65534, counts: 65534},
	{what: "identity socket", uid: stranger, gid: stranger, socket: podSocket, counts: alice},
	{what: "identity socket, root", uid: 0, gid: 0, socket: podSocket, counts: alice},
	{what: "identity socket, mapped root", uid: stranger, gid: stranger, socket: podSocket, unshare: "--user --map-root-user", counts: alice},
}

// connectAs has another process connect a socket: the kernel notes who connects,
// with uid, gid and namespace, and who uses the connection later is all the same.
func (s *system) connectAs(p caller) *client.Client {
	s.t.Helper()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "client")
	defer file.Close()
	path := p.socket
	if path == "" {
		path = sockets["sssd_kcm"]
	}
	const connect = `use Socket; open(my $s, "+<&=3") or die $!; connect($s, sockaddr_un($ARGV[0])) or die $!`
	argv := []string{"setpriv", "--reuid", fmt.Sprint(p.uid), "--regid", fmt.Sprint(p.gid), "--clear-groups"}
	if p.unshare != "" {
		argv = append(append(argv, "unshare"), strings.Fields(p.unshare)...)
	}
	cmd := exec.Command(argv[0], append(argv[1:], "perl", "-e", connect, s.path(path))...)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Dir = "/"
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("connect as %s: %v\n%s", p.what, err, out)
	}
	conn, err := net.FileConn(file)
	if err != nil {
		s.t.Fatal(err)
	}
	c := client.Over(func() (io.ReadWriteCloser, error) { return conn, nil }, patience)
	s.t.Cleanup(func() { conn.Close() })
	return c
}

// target is the cache that a request is about, and what there is of it.
type target struct {
	name       string
	owner      user
	uuid       []byte // of the cache
	credential []byte // its UUID
}

// isolation is a system with caches of several users. Those that a
// request is about are made afresh before it.
type isolation struct {
	t      *testing.T
	owners map[user]*client.Client
	keys   map[user][]byte // the session key in each one's cache, and its ticket
}

func (i *isolation) root() *client.Client { return i.owners[0] }

func cacheOf(u user) string { return fmt.Sprint(uint32(u)) }

func (i *isolation) ticketOf(u user) protocol.Credential {
	return protocol.Credential{
		Client: principal("user" + cacheOf(u)), Server: principal("krbtgt", "EXAMPLE.TEST"),
		Key:   protocol.Keyblock{Enctype: 18, Key: i.keys[u]},
		Times: protocol.Times{Auth: 1, Start: 1, End: 0x7fffffff}, Ticket: append([]byte("ticket "), i.keys[u]...),
	}
}

// renew makes the caches of users what they are to be, whatever became of them.
func (i *isolation) renew(users ...user) {
	i.t.Helper()
	for _, u := range users {
		c := i.owners[u]
		for { // who owned it by the last request is gone after this
			if _, err := i.root().Call(protocol.OpDestroy, protocol.AppendName(nil, cacheOf(u))); err != nil {
				break
			}
		}
		list, err := c.Call(protocol.OpGetCacheUUIDList)
		for ; err == nil && len(list) >= 16; list = list[16:] {
			name, err := c.Call(protocol.OpGetCacheByUUID, list[:16])
			if err == nil {
				_, err = c.Call(protocol.OpDestroy, name)
			}
			if err != nil {
				i.t.Fatalf("remove what %d has: %v", u, err)
			}
		}
		if err := c.Initialize(cacheOf(u), principal("user"+cacheOf(u))); err != nil {
			i.t.Fatalf("make the cache of %d: %v", u, err)
		}
		if err := c.Store(cacheOf(u), i.ticketOf(u)); err != nil {
			i.t.Fatalf("fill the cache of %d: %v", u, err)
		}
	}
}

func (i *isolation) target(u user) target {
	i.t.Helper()
	uuid, err := i.owners[u].Call(protocol.OpGetCacheUUIDList)
	if err != nil || len(uuid) != 16 {
		i.t.Fatalf("caches of %d: %x, %v", u, uuid, err)
	}
	credential, err := i.owners[u].Call(protocol.OpGetCredUUIDList, protocol.AppendName(nil, cacheOf(u)))
	if err != nil || len(credential) != 16 {
		i.t.Fatalf("credentials of %d: %x, %v", u, credential, err)
	}
	return target{cacheOf(u), u, uuid, credential}
}

// state is all that the owner of a cache sees of it.
func (i *isolation) state(u user) []byte {
	var all []byte
	for _, op := range []protocol.Op{
		protocol.OpGetCacheUUIDList, protocol.OpGetDefaultCache, protocol.OpGetPrincipal,
		protocol.OpGetCredList, protocol.OpGetKDCOffset, protocol.OpGetCredUUIDList,
	} {
		var name []byte
		if op != protocol.OpGetCacheUUIDList && op != protocol.OpGetDefaultCache {
			name = protocol.AppendName(nil, cacheOf(u))
		}
		seen, err := i.owners[u].Call(op, name)
		all = fmt.Appendf(all, "%v %x %v\n", op, seen, err)
	}
	return all
}

func word(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// attempt is a request about a cache, and what must come of it.
type attempt struct {
	op     protocol.Op
	what   string // tells two of one operation apart
	params func(i *isolation, p caller, to target) []byte
	own    protocol.Code // about the peer's own cache
	other  protocol.Code // about another's, if the peer does not count as root
	root   protocol.Code // about another's, if it does
	aside  bool          // the cache is not named: the peer's own changes, or none
}

func named(rest ...func(i *isolation, p caller, to target) []byte) func(*isolation, caller, target) []byte {
	return func(i *isolation, p caller, to target) []byte {
		b := protocol.AppendName(nil, to.name)
		for _, more := range rest {
			b = append(b, more(i, p, to)...)
		}
		return b
	}
}

func fixed(b ...[]byte) func(*isolation, caller, target) []byte {
	return func(*isolation, caller, target) []byte { return slices.Concat(b...) }
}

func credential(i *isolation, p caller, _ target) []byte {
	c := i.ticketOf(p.counts)
	c.Server = principal("host", "planted")
	return protocol.AppendCredential(nil, c)
}

func credtag(i *isolation, _ caller, to target) []byte {
	return protocol.AppendCredtag(nil, protocol.Credtag{Present: protocol.HasServer, Credential: i.ticketOf(to.owner)})
}

func whom(_ *isolation, p caller, _ target) []byte {
	return protocol.AppendPrincipal(nil, principal("user"+cacheOf(p.counts)))
}

var attempts = []attempt{
	{op: protocol.OpNoop, params: fixed(), aside: true},
	{op: protocol.OpGetName, params: named(), other: protocol.NoFile},
	{op: protocol.OpResolve, params: named(), other: protocol.BadName},
	{op: protocol.OpGenNew, params: fixed(), aside: true},
	{op: protocol.OpInitialize, params: named(whom), other: protocol.BadName},
	{op: protocol.OpDestroy, params: named(), other: protocol.NoFile},
	{op: protocol.OpStore, params: named(credential), other: protocol.NoFile},
	{op: protocol.OpRetrieve, params: named(fixed(word(0)), credtag), other: protocol.NoFile},
	{op: protocol.OpGetPrincipal, params: named(), other: protocol.NoFile},
	{op: protocol.OpGetCredUUIDList, params: named(), other: protocol.NoFile},
	{op: protocol.OpGetCredByUUID, params: named(func(_ *isolation, _ caller, to target) []byte { return to.credential }), other: protocol.End},
	{op: protocol.OpGetCredByUUID, what: "of another's, by the own name", params: func(_ *isolation, p caller, to target) []byte {
		return append(protocol.AppendName(nil, cacheOf(p.counts)), to.credential...)
	}, other: protocol.End, root: protocol.End},
	{op: protocol.OpRemoveCred, params: named(fixed(word(0)), credtag), other: protocol.NoFile},
	{op: protocol.OpSetFlags, params: named(fixed(word(0))), other: protocol.NoFile},
	{op: protocol.OpChown, params: named(func(_ *isolation, p caller, _ target) []byte {
		return append(word(uint32(p.counts)), word(uint32(p.gid))...)
	}), other: protocol.NoFile},
	{op: protocol.OpChmod, params: named(fixed([]byte{1, 0xff})), other: protocol.NoFile},
	{op: protocol.OpGetInitialTicket, params: named(fixed([]byte{0}, word(18<<16), word(0))),
		own: protocol.Unreachable, other: protocol.NoFile, root: protocol.Unreachable}, // sssd_kcm knows of no KDC that answers
	{op: protocol.OpGetTicket, params: named(fixed(word(0), word(0), protocol.AppendPrincipal(nil, principal("host", "x")))),
		own: protocol.Unreachable, other: protocol.NoFile, root: protocol.Unreachable},
	{op: protocol.OpMoveCache, what: "to an own one", params: func(_ *isolation, p caller, to target) []byte {
		return append(protocol.AppendName(nil, to.name), protocol.AppendName(nil, cacheOf(p.counts)+":moved")...)
	}, other: protocol.NoFile, root: protocol.BadName},
	{op: protocol.OpMoveCache, what: "from the own one", params: func(_ *isolation, p caller, to target) []byte {
		return append(protocol.AppendName(nil, cacheOf(p.counts)), protocol.AppendName(nil, to.name)...)
	}, other: protocol.BadName, root: protocol.BadName},
	{op: protocol.OpGetCacheUUIDList, params: fixed(), aside: true},
	{op: protocol.OpGetCacheByUUID, params: func(_ *isolation, _ caller, to target) []byte { return to.uuid }, other: protocol.End, root: protocol.End},
	{op: protocol.OpGetDefaultCache, params: fixed(), aside: true},
	{op: protocol.OpSetDefaultCache, params: named(), other: protocol.BadName},
	{op: protocol.OpGetKDCOffset, params: named(), other: protocol.NoFile},
	{op: protocol.OpSetKDCOffset, params: named(fixed(word(5))), other: protocol.NoFile},
	{op: protocol.OpAddNTLMCred, params: named(), own: protocol.NoSupport, other: protocol.NoSupport, root: protocol.NoSupport},
	{op: protocol.OpHaveNTLMCred, params: named(), own: protocol.NoSupport, other: protocol.NoSupport, root: protocol.NoSupport},
	{op: protocol.OpDelNTLMCred, params: named(), own: protocol.NoSupport, other: protocol.NoSupport, root: protocol.NoSupport},
	{op: protocol.OpDoNTLMAuth, params: named(), own: protocol.NoSupport, other: protocol.NoSupport, root: protocol.NoSupport},
	{op: protocol.OpGetNTLMUserList, params: named(), own: protocol.NoSupport, other: protocol.NoSupport, root: protocol.NoSupport},
	{op: protocol.OpGetCredList, params: named(), other: protocol.NoFile},
	{op: protocol.OpReplace, params: named(fixed(word(0)), whom, fixed(word(0))), other: protocol.BadName},
}

// TestEveryOperationBelongsToTheOwner has every kind of peer try every operation
// on its own cache, on another user's and on root's. The table of what came of
// it is printed with -v.
func TestEveryOperationBelongsToTheOwner(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needProgram(t, "setpriv", "perl")
	needNamespaces(t, "--user", "--map-root-user")
	s := newSystem(t, identityConf(podSocket)+"[kcm]\nccache_storage = memory\nget_tickets = yes\ndebug_level = 10\n")
	s.sh(0, `mkdir -p "$ROOT/srv/web"`)
	s.write("/unreachable.conf", "[libdefaults]\ndns_lookup_kdc = no\n[realms]\nEXAMPLE.TEST = {\nkdc = 127.0.0.1:1\n}\n", 0o644)
	s.more = append(s.more, "KRB5_CONFIG="+s.path("/unreachable.conf"))
	s.start()
	i := &isolation{t: t, owners: map[user]*client.Client{}, keys: map[user][]byte{}}
	for _, p := range callers {
		i.keys[p.counts] = s.secret(32)
		if i.owners[p.counts] == nil {
			i.owners[p.counts] = s.connectAs(caller{what: "the owner", uid: p.counts, gid: p.counts})
		}
	}
	var table strings.Builder
	for _, p := range callers {
		c := s.connectAs(p)
		if name, err := c.Default(); err != nil || name != cacheOf(p.counts) {
			t.Fatalf("%s: the default cache is %q (%v), want that of %d", p.what, name, err, p.counts)
		}
		for _, a := range attempts {
			fmt.Fprintf(&table, "%-28s %-18v %-30s", p.what, a.op, a.what)
			for n, whose := range []user{p.counts, alice, bob, 0} {
				if n > 0 && whose == p.counts {
					continue // has been the first
				}
				fmt.Fprintf(&table, " %d %-16s", whose, i.try(c, p, a, whose))
			}
			table.WriteByte('\n')
		}
	}
	t.Logf("who, operation, and the owners of the caches with what it got, its own first:\n%s", &table)
}

// try makes an attempt and returns what came of it.
func (i *isolation) try(c *client.Client, p caller, a attempt, whose user) string {
	i.t.Helper()
	i.renew(p.counts, whose)
	to := i.target(whose)
	before := i.state(whose)
	want := a.own
	switch {
	case whose == p.counts:
	case p.counts == 0:
		want = a.root
	case !a.aside:
		want = a.other
	}
	results, err := c.Call(a.op, a.params(i, p, to))
	var refused *client.Error
	seen := protocol.OK
	switch {
	case errors.As(err, &refused):
		seen = refused.Code
	case err != nil:
		i.t.Fatalf("%s: %v about the cache of %d: %v", p.what, a.op, whose, err)
	}
	if seen != want {
		i.t.Errorf("%s: %v %s about the cache of %d: %v, want %v", p.what, a.op, a.what, whose, seen, want)
	}
	if whose != p.counts && p.counts != 0 {
		absent := target{"20099", 20099, make([]byte, 16), make([]byte, 16)}
		_, other := c.Call(a.op, a.params(i, p, absent))
		if fmt.Sprint(other) != fmt.Sprint(err) {
			i.t.Errorf("%s: %v %s tells that there is a cache of %d: %v, and where there is none %v", p.what, a.op, a.what, whose, err, other)
		}
	}
	for u, key := range i.keys {
		if u != p.counts && p.counts != 0 && (bytes.Contains(results, key) || bytes.Contains(results, []byte("user"+cacheOf(u)))) {
			i.t.Errorf("%s: %v %s shows something of the cache of %d", p.what, a.op, a.what, u)
		}
	}
	if whose != p.counts && seen == protocol.OK && bytes.Contains(results, to.uuid) && p.counts != 0 {
		i.t.Errorf("%s: %v %s shows the UUID of the cache of %d", p.what, a.op, a.what, whose)
	}
	if whose != p.counts && p.counts != 0 {
		if now := i.state(whose); !bytes.Equal(now, before) {
			i.t.Errorf("%s: %v %s changes the cache of %d:\n%s%s", p.what, a.op, a.what, whose, before, now)
		}
	}
	return seen.String()
}

// TestAUserWhoStandsForManyIsServedNothing is the matrix where sssd_kcm runs in
// a user namespace that maps root alone: the kernel calls all others 65534.
func TestAUserWhoStandsForManyIsServedNothing(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needProgram(t, "setpriv", "perl")
	needNamespaces(t, "--user", "--map-root-user")
	s := newSystem(t, "[kcm]\nccache_storage = memory\ndebug_level = 10\n")
	s.wrap = []string{"unshare", "--user", "--map-root-user"}
	s.start()
	root := s.connectAs(caller{what: "root"})
	i := &isolation{t: t, owners: map[user]*client.Client{0: root}, keys: map[user][]byte{0: s.secret(32)}}
	i.renew(0)
	before := i.state(0)
	var table strings.Builder
	for _, p := range []caller{{what: "uid 20001", uid: alice, gid: alice, counts: 65534}, {what: "uid 65534", uid: 65534, gid: 65534, counts: 65534}} {
		i.keys[p.counts] = i.keys[0] // what it would store
		for _, a := range attempts {
			for _, to := range []target{i.target(0), {"65534", p.counts, make([]byte, 16), make([]byte, 16)}} {
				c := client.Over(func() (conn io.ReadWriteCloser, err error) {
					asUser(t, p.uid, func() { conn, err = net.Dial("unix", s.path(sockets["sssd_kcm"])) })
					return conn, err
				}, patience)
				_, err := c.Call(a.op, a.params(i, p, to))
				_ = c.Close()
				got := "closed"
				if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
					got = fmt.Sprint(err)
					t.Errorf("%s is answered %v %s about the cache of %d: %v", p.what, a.op, a.what, to.owner, err)
				}
				fmt.Fprintf(&table, "%-28s %-18v %-30s %-5d %s\n", p.what, a.op, a.what, to.owner, got)
			}
		}
	}
	t.Logf("who, operation, the owner of the cache and what it got:\n%s", &table)
	if now := i.state(0); !bytes.Equal(now, before) {
		t.Errorf("root's cache has changed:\n%s%s", before, now)
	}
	expect(t, s.log("sssd_kcm"), "uid 65534 stands for every user")
}

// TestTheMatrixHasEveryOperation guards the table above.
func TestTheMatrixHasEveryOperation(t *testing.T) {
	t.Parallel()
	for op := protocol.Op(0); op <= protocol.OpReplace; op++ {
		known := !strings.ContainsAny(op.String(), "0123456789")
		if has := slices.ContainsFunc(attempts, func(a attempt) bool { return a.op == op }); has != known {
			t.Errorf("operation %d (%v) is in the matrix: %v", op, op, has)
		}
	}
}
