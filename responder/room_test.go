package responder

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"gosssd/responder/log"
)

// crowd is a server with room for a few connections, which stay open until they
// are told to end.
type crowd struct {
	*server
	t     *testing.T
	conns []*Conn
}

func newCrowd(t *testing.T, room int) *crowd {
	s := newServer(nil, echo{}, log.Discard(), 1000, limits{})
	s.room = room
	return &crowd{server: s, t: t}
}

// connect adds a connection of a user, and reports whether it was taken on.
func (c *crowd) connect(uid uint32) bool {
	c.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { unix.Close(fds[1]) })
	file := os.NewFile(uintptr(fds[0]), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	client := &Conn{UnixConn: conn.(*net.UnixConn), Peer: Peer{UID: uid}, Log: c.log, activity: &c.activity}
	client.lastActive.Store(int64(len(c.conns)))
	c.conns = append(c.conns, client)
	return c.add(client)
}

// list lists the connections that are not told to end, as UID:AGE.
func (c *crowd) list() string {
	var list []string
	for i, conn := range c.conns {
		if !conn.ending {
			list = append(list, fmt.Sprintf("%d:%d", conn.Peer.UID, i))
		}
	}
	return strings.Join(list, " ")
}

func TestWhoHasMostLosesTheOldest(t *testing.T) {
	c := newCrowd(t, 6)
	for step, tc := range []struct {
		uid  uint32
		want string
	}{
		{1, "1:0"}, {1, "1:0 1:1"}, {1, "1:0 1:1 1:2"}, {1, "1:0 1:1 1:2 1:3"}, {2, "1:0 1:1 1:2 1:3 2:4"}, {2, "1:0 1:1 1:2 1:3 2:4 2:5"},
		{1, "1:1 1:2 1:3 2:4 2:5 1:6"}, // the greediest pays for himself
		{0, "1:2 1:3 2:4 2:5 1:6 0:7"}, // a newcomer always finds room
		{3, "1:3 2:4 2:5 1:6 0:7 3:8"},
		{2, "1:3 2:5 1:6 0:7 3:8 2:9"}, // not at the expense of one who has as many
		{3, "1:3 2:5 1:6 0:7 2:9 3:10"},
	} {
		if !c.connect(tc.uid) {
			t.Fatalf("step %d: uid %d is refused", step, tc.uid)
		}
		for _, conn := range c.conns {
			if conn.ending {
				c.close(conn) // as its handler does at once
			}
		}
		if got := c.list(); got != tc.want {
			t.Fatalf("step %d: %s, want %s", step, got, tc.want)
		}
	}
}

func TestFewConnectionsAreNeverLostToMany(t *testing.T) {
	const room = 100
	c := newCrowd(t, room)
	if !c.connect(0) || !c.connect(1000) {
		t.Fatal("the first are refused")
	}
	for i := range 3000 {
		c.connect(uint32(2001 + i%3))
		if i%100 == 0 && !c.connect(uint32(3000+i/100)) {
			t.Error("a newcomer is refused")
		}
	}
	if c.conns[0].ending || c.conns[1].ending {
		t.Error("a user with one connection has lost it")
	}
	for uid, n := range c.staying {
		if uid >= 3000 && n != 1 {
			t.Errorf("uid %d has %d connections left of 1", uid, n)
		}
	}
	if c.open > room+closing {
		t.Errorf("%d connections are open, beyond the room of %d and the %d that may be closing", c.open, room, closing)
	}
}

// Connections that were told to end, and do not because their answers wait for
// something, are closed before the reserve is used up.
func TestTheReserveIsKept(t *testing.T) {
	c := newCrowd(t, 10)
	for range 1000 {
		if !c.connect(1) {
			t.Fatal("a client is refused")
		}
		if c.open > 10+closing {
			t.Fatalf("%d connections are open", c.open)
		}
	}
	if len(c.server.conns) != 1000 {
		t.Error("connections were forgotten while they are served")
	}
	for _, conn := range c.conns {
		c.remove(conn)
	}
	if c.open != 0 || len(c.staying) != 0 || len(c.server.conns) != 0 {
		t.Errorf("after the end %d are open, %d are known", c.open, len(c.server.conns))
	}
}

func TestTheRoomLeavesAReserve(t *testing.T) {
	for limit, want := range map[int]int{64: 16, 100: 36, 256: 192, 2048: 1984} {
		if got := roomFor(limit); got != want {
			t.Errorf("room for %d of %d descriptors, want %d", got, limit, want)
		}
	}
}
