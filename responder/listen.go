package responder

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"gosssd/confdb"
	"gosssd/linux"
	"gosssd/responder/log"
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
		_ = os.Unsetenv(name)
	}
	if count == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if count != "1" {
		return nil, fmt.Errorf("%s sockets were handed over, expected 1", count)
	}
	unix.CloseOnExec(firstFD)
	f := os.NewFile(firstFD, "listener")
	defer func() { _ = f.Close() }()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d was handed over, but is no listening socket: %w", firstFD, err)
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("a %s socket was handed over, expected a Unix stream socket", l.Addr().Network())
	}
	unixListener.SetUnlinkOnClose(false)
	return unixListener, nil
}

// Listen makes a listening socket at path, in a directory that is made if it is
// missing. Whoever connects always meets a listener, the old or the new one.
func Listen(path string, mode fs.FileMode) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("listen at %s: %w", path, err)
	}
	return linux.Listen(path, mode)
}

// sameSocket reports whether two paths name the same socket: /var/run often is
// /run.
func sameSocket(one, other string) bool {
	resolve := func(name string) string {
		dir, err := filepath.EvalSymlinks(filepath.Dir(name))
		if err != nil {
			return name
		}
		return filepath.Join(dir, filepath.Base(name))
	}
	return resolve(one) == resolve(other)
}

// inherited is the socket with which the process was started.
type inherited struct {
	listener  *net.UnixListener // nil if there is none
	bySystemd bool              // not by the monitor
}

func inherit() (inherited, error) {
	bySystemd := os.Getenv("LISTEN_PID") != "" // which the monitor leaves out
	l, err := Inherited()
	return inherited{l, bySystemd}, err
}

// open returns the socket that was handed over, or binds the configured one.
func (h inherited) open(d Descriptor, root Root, conf *confdb.Snapshot, logger *log.Logger) (*net.UnixListener, error) {
	path := d.SocketPath(root, conf)
	if h.listener == nil {
		return Listen(path, d.SocketMode)
	}
	if h.bySystemd && len(d.Command(conf)) > 0 {
		logger.Error("command has no effect where systemd starts the responder; edit its unit instead")
	}
	if at := linux.SocketPath(h.listener); d.SocketOption != "" && conf.Section(d.Section()).IsSet(d.SocketOption) && !sameSocket(at, path) {
		logger.Error("the socket that was handed over is not the configured one, which has no effect; edit the socket's unit instead", "handed", at, "configured", path)
	}
	return h.listener, nil
}

// refuse answers the clients of systemd's socket for a while, where the process
// cannot start; then systemd starts it again. The monitor answers those of its
// own sockets.
func (h inherited) refuse(d Descriptor) {
	if h.listener == nil || !h.bySystemd {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), refuseTime)
	defer cancel()
	d.Refuse(ctx, h.listener)
}
