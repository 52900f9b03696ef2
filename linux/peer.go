package linux

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Peer is who is at the other end of a connection.
type Peer struct {
	UID, GID uint32
	PID      int32 // 0 for a process outside of our PID namespace, which has no number here
}

// overflowUID is the kernel's word for every user that our user namespace does
// not map (user_namespaces(7)).
const overflowUID = 65534

// ErrUnmapped says that the kernel has no number for the user of a peer.
var ErrUnmapped = errors.New("uid 65534 stands for every user that this user namespace does not map")

// PeerOf returns who connected, as the kernel noted it then (SO_PEERCRED). In a
// user namespace that does not map every uid, the one that stands for all the
// others is refused with ErrUnmapped: it is not one user.
func PeerOf(c *net.UnixConn) (Peer, error) {
	peer, err := PeerAsMapped(c)
	if err == nil && peer.UID == overflowUID && !allUsersMapped() {
		err = fmt.Errorf("peer credentials: %w", ErrUnmapped)
	}
	return peer, err
}

// PeerAsMapped is PeerOf without that refusal, for whoever does not go by the
// uid.
func PeerAsMapped(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, credErr); err != nil {
		return Peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}

// allUsersMapped reports whether every uid has a number in our user namespace.
// Where that cannot be read, it is not known.
func allUsersMapped() bool {
	f, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return mapsAll(f)
}

// mapsAll reads a uid_map: lines of first uid here, first uid outside, count.
func mapsAll(uidMap io.Reader) bool {
	const users = 1<<32 - 1 // the last number, (uid_t) -1, is no user
	var mapped uint64
	lines := bufio.NewScanner(uidMap)
	for lines.Scan() {
		var inside, outside, count uint64
		if _, err := fmt.Sscan(lines.Text(), &inside, &outside, &count); err != nil {
			return false
		}
		mapped += count
	}
	return lines.Err() == nil && mapped >= users
}

// Program returns what the peer calls itself (comm, proc(5)): at most 15 bytes
// of its own choice, good for a log and for nothing else. It is "?" where there
// is none to ask. A process may execute another program, or end and have its
// number given away, so it is asked when the connection is accepted.
func (p Peer) Program() string {
	if p.PID <= 0 {
		return "?"
	}
	fd, err := unix.Open("/proc/"+strconv.Itoa(int(p.PID))+"/comm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "?"
	}
	defer func() { _ = unix.Close(fd) }()
	var comm [64]byte
	n, err := unix.Read(fd, comm[:])
	if err != nil || n <= 1 {
		return "?"
	}
	return string(comm[:n-1]) // without its line feed
}
