package linux

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path that the address of a Unix socket holds:
// sun_path of unix(7) without its NUL.
const maxSocketPath = 107

// Listen makes a listening stream socket at path, with the mode whatever the
// umask. It is bound beside path and renamed over it, so that whoever connects
// always meets a listener, the old one or the new one. A socket at path is
// replaced; anything else there is an error. That nobody serves at the path any
// more is for the caller to know.
func Listen(path string, mode fs.FileMode) (*net.UnixListener, error) {
	l, take, err := ListenBeside(path, mode)
	if err != nil {
		return nil, err
	}
	if err := take(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// ListenBeside is Listen in two steps: nobody comes to the socket before take has
// given it its path. A take that fails removes the name that it has until then.
func ListenBeside(path string, mode fs.FileMode) (l *net.UnixListener, take func() error, err error) {
	beside := besides(path)
	if len(beside) > maxSocketPath {
		return nil, nil, fmt.Errorf("listen at %s: the path has %d bytes, at most %d are possible", path, len(path), MaxListenPath)
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, nil, fmt.Errorf("listen at %s: something that is no socket is in the way", path)
	}
	if err := removeLeft(path); err != nil {
		return nil, nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	if l, err = bind(beside, mode); err != nil {
		return nil, nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return l, func() error {
		if err := os.Rename(beside, path); err != nil {
			return errors.Join(fmt.Errorf("listen at %s: %w", path, err), ignoreMissing(os.Remove(beside)))
		}
		return nil
	}, nil
}

// A socket is bound to its name with a dot before it, and a mark and a few letters
// behind: the kernel goes on calling it so, which tells two sockets from each
// other that were made for one path.
const (
	boundMark    = "~"
	boundLetters = 3
)

// MaxListenPath is the longest path at which [Listen] can make a socket, in bytes.
const MaxListenPath = maxSocketPath - 1 - len(boundMark) - boundLetters

func besides(path string) string {
	return boundPrefix(path) + rand.Text()[:boundLetters]
}

func boundPrefix(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+boundMark)
}

// removeLeft removes what a process left that was killed before it renamed its socket.
func removeLeft(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(filepath.Dir(path), e.Name())
		if rest, bound := strings.CutPrefix(name, boundPrefix(path)); bound && len(rest) == boundLetters {
			err = errors.Join(err, ignoreMissing(os.Remove(name)))
		}
	}
	return err
}

// ListensAt reports whether l is what clients of path connect to: one of them is
// made, and ends.
func ListensAt(l *net.UnixListener, path string) bool {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	return c.RemoteAddr().String() == l.Addr().String()
}

// Duplicate returns another descriptor of a connection or a listener, which no
// program that is executed inherits. The caller closes it.
func Duplicate(conn syscall.Conn) (fd int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	controlErr := raw.Control(func(held uintptr) {
		fd, err = unix.FcntlInt(held, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(controlErr, err)
}

func bind(path string, mode fs.FileMode) (*net.UnixListener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer func() { _ = file.Close() }() // FileListener has its own descriptor
	// Linux gives the path the mode of the descriptor, less the umask: there is
	// no moment at which more people could connect than may.
	if err := unix.Fchmod(fd, uint32(mode.Perm())); err != nil {
		return nil, fmt.Errorf("fchmod: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	l, err := listenOn(file, mode)
	if err != nil {
		return nil, errors.Join(err, ignoreMissing(os.Remove(path)))
	}
	return l, nil
}

func listenOn(file *os.File, mode fs.FileMode) (*net.UnixListener, error) {
	if err := os.Chmod(file.Name(), mode); err != nil { // a umask may have taken from it
		return nil, err
	}
	if err := unix.Listen(int(file.Fd()), unix.SOMAXCONN); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	unixListener := l.(*net.UnixListener)
	unixListener.SetUnlinkOnClose(false)
	return unixListener, nil
}

// AnyID as an owner leaves the one that is there.
const AnyID = 1<<32 - 1

// OwnSocket gives the socket at path to a user and group, with the mode. Where a
// process may not give it away, it stays its own, and an access control list
// (acl(5)) lets that user and group do the same. It touches nothing but a
// socket, whoever may write in the directory.
func OwnSocket(path string, uid, gid uint32, mode fs.FileMode) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var now unix.Stat_t
	if err := unix.Fstat(fd, &now); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if now.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return &os.PathError{Op: "chown", Path: path, Err: errors.New("is no socket")}
	}
	if now.Uid == uid && (gid == AnyID || now.Gid == gid) && now.Mode&0o7777 == uint32(mode.Perm()) {
		return nil
	}
	if self := uint32(os.Geteuid()); now.Uid != self { // who alone may change the mode
		if err := changeOwner(fd, path, self, AnyID); err != nil {
			return err
		}
	}
	file := fmt.Sprintf("/proc/self/fd/%d", fd) // a descriptor of O_PATH is good for little itself
	if err := unix.Removexattr(file, aclAttribute); err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return &os.PathError{Op: "removexattr", Path: path, Err: err}
	}
	if err := os.Chmod(file, mode.Perm()); err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: errors.Unwrap(err)}
	}
	err = changeOwner(fd, path, uid, gid)
	if errors.Is(err, unix.EPERM) {
		if aclErr := unix.Setxattr(file, aclAttribute, accessList(uid, gid, mode), 0); aclErr != nil {
			return fmt.Errorf("%w, and by an access control list: %w", err, aclErr)
		}
		return nil
	}
	return err
}

func changeOwner(fd int, path string, uid, gid uint32) error {
	// (uid_t) -1 is -1 to the kernel whatever the width.
	if err := unix.Fchownat(fd, "", int(int32(uid)), int(int32(gid)), unix.AT_EMPTY_PATH); err != nil {
		return &os.PathError{Op: "chown", Path: path, Err: err}
	}
	return nil
}

// aclAttribute has the access control list of a file.
const aclAttribute = "system.posix_acl_access"

// accessList is an access control list that lets a user and group do what the
// mode lets an owner and its group, in the format of linux/posix_acl_xattr.h.
func accessList(uid, gid uint32, mode fs.FileMode) []byte {
	const (
		version                                  = 2
		ownerTag, userTag, ownGroupTag, groupTag = 0x01, 0x02, 0x04, 0x08
		maskTag, otherTag                        = 0x10, 0x20
	)
	user, group, other := uint16(mode>>6&7), uint16(mode>>3&7), uint16(mode&7)
	list := binary.LittleEndian.AppendUint32(nil, version)
	add := func(tag, permissions uint16, id uint32) {
		list = binary.LittleEndian.AppendUint16(list, tag)
		list = binary.LittleEndian.AppendUint16(list, permissions)
		list = binary.LittleEndian.AppendUint32(list, id)
	}
	add(ownerTag, user, AnyID)
	add(userTag, user, uid)
	add(ownGroupTag, other, AnyID) // the group of who made it is nobody special
	if gid != AnyID {
		add(groupTag, group, gid)
	}
	add(maskTag, user|group|other, AnyID)
	add(otherTag, other, AnyID)
	return list
}

// Dial connects to the stream socket at path.
func Dial(ctx context.Context, path string) (*net.UnixConn, error) {
	if len(path) > maxSocketPath { // the kernel would only call it an invalid argument
		return nil, fmt.Errorf("connect to %s: the path has %d bytes, at most %d are possible", path, len(path), maxSocketPath)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil
}

// SocketPath is the path that a listener has. The kernel only knows the one it
// was bound to, which for the sockets of Listen is the name beside it.
func SocketPath(l net.Listener) string {
	bound := l.Addr().String()
	name, hidden := strings.CutPrefix(filepath.Base(bound), ".")
	if mark := len(name) - boundLetters - len(boundMark); hidden && mark > 0 && name[mark:mark+len(boundMark)] == boundMark {
		return filepath.Join(filepath.Dir(bound), name[:mark])
	}
	return bound
}
