package responder

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstFD is where handed-over sockets begin (sd_listen_fds(3)).
const firstFD = 3

// Inherited returns the listening socket that systemd or the monitor handed
// over through LISTEN_FDS, or nil if there is none. The monitor cannot know a
// child's number before the fork and leaves LISTEN_PID out. More than one, or
// something that is not a listening Unix stream socket, is an error. The
// environment is cleared so that no child takes the socket for its own.
func Inherited() (*net.UnixListener, error) {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	if count == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if count != "1" {
		return nil, fmt.Errorf("%s sockets were handed over, expected 1", count)
	}
	unix.CloseOnExec(firstFD)
	f := os.NewFile(firstFD, "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d was handed over, but is no listening socket: %w", firstFD, err)
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("a %s socket was handed over, expected a Unix stream socket", l.Addr().Network())
	}
	unixListener.SetUnlinkOnClose(false)
	return unixListener, nil
}

// Listen binds a listening socket beside path and renames it over path, so
// that whoever connects always meets a listener, the old or the new one.
func Listen(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	beside := fmt.Sprintf("%s.%d", path, os.Getpid())
	if len(beside) >= len(unix.RawSockaddrUnix{}.Path) {
		return nil, fmt.Errorf("listen on %s: the path is longer than a socket's may be", path)
	}
	_ = os.Remove(beside) // of a process with our number that died right here
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: beside, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(beside, mode); err != nil {
		l.Close()
		return nil, err
	}
	if err := os.Rename(beside, path); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// sameSocket reports whether a handed-over socket, by the name it was bound
// to, is the one at path: the monitor binds beside a path, and /var/run often
// is /run.
func sameSocket(bound, path string) bool {
	resolve := func(name string) string {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			return name
		}
		return filepath.Join(dir, filepath.Base(name))
	}
	bound, path = resolve(bound), resolve(path)
	return bound == path || strings.HasPrefix(bound, path+".")
}
