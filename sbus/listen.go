package sbus

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const (
	socketMode = 0o600
	// maxPath is the longest path a Unix socket address holds: sun_path of
	// unix(7) without its NUL.
	maxPath = 107
	// newSuffix names the socket until it takes the place of the old one.
	newSuffix = ".new"
)

// Listen makes the socket of the private bus, with mode 0600 whatever the
// umask. A socket that is left at the path is replaced in one step, so that the
// path never stops existing; anything else there is an error. That nobody
// listens at the path any more is for the caller to know.
func Listen(path string) (*net.UnixListener, error) {
	if err := checkPath(path + newSuffix); err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("listen: %s is in the way and is no socket", path)
	}
	l, err := listenNew(path + newSuffix)
	if err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	if err := os.Rename(path+newSuffix, path); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// checkPath tells what the kernel would only call an invalid argument.
func checkPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("socket path %s has %d bytes, the system allows %d", path, len(path), maxPath)
	}
	return nil
}

func listenNew(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // left by a start that was cut short
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close() // FileListener has its own descriptor
	// Linux gives the path the mode of the descriptor, less the umask: there is
	// no moment at which others could connect.
	if err := unix.Fchmod(fd, socketMode); err != nil {
		return nil, fmt.Errorf("fchmod: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // a umask may have taken from it
		return nil, err
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
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
