package responder

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"gosssd/confdb"
	"gosssd/layout"
	"gosssd/linux"
	"gosssd/responder/log"
)

// firstFD is where handed-over sockets begin (sd_listen_fds(3)).
const firstFD = 3

// handed is a socket that another process handed over.
type handed struct {
	*net.UnixListener
	name string // of LISTEN_FDNAMES; "" if it has none
}

// takeHanded returns the listening sockets that systemd or the monitor handed
// over through LISTEN_FDS. The monitor cannot know a child's number before the
// fork and leaves LISTEN_PID out. Something that is not a listening Unix stream
// socket is an error. The environment is cleared so that no child takes the
// sockets for its own.
func takeHanded() ([]handed, error) {
	pid, count, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	if count == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxHanded {
		return nil, fmt.Errorf("LISTEN_FDS is %q, which is not from 1 to %d", count, maxHanded)
	}
	for fd := firstFD; fd < firstFD+n; fd++ {
		unix.CloseOnExec(fd)
	}
	named := append(strings.Split(names, ":"), make([]string, n)...)
	var sockets []handed
	for i := range n {
		l, err := handedListener(firstFD + i)
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, handed{l, named[i]})
	}
	return sockets, nil
}

// maxHanded bounds LISTEN_FDS.
const maxHanded = 1000

func handedListener(fd int) (*net.UnixListener, error) {
	f := os.NewFile(uintptr(fd), "listener")
	if f == nil {
		return nil, fmt.Errorf("descriptor %d was handed over, but is not open", fd)
	}
	defer func() { _ = f.Close() }()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d was handed over, but is no listening socket: %w", fd, err)
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
	if err := makeDirOf(path); err != nil {
		return nil, err
	}
	return linux.Listen(path, mode)
}

// ListenBeside is Listen in the two steps of [linux.ListenBeside].
func ListenBeside(path string, mode fs.FileMode) (l *net.UnixListener, take func() error, err error) {
	if err := makeDirOf(path); err != nil {
		return nil, nil, err
	}
	return linux.ListenBeside(path, mode)
}

func makeDirOf(path string) error {
	if err := linux.MakeDirs(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("listen at %s: %w", path, err)
	}
	return nil
}

// sameSocket reports whether two paths name the same socket: /var/run often is
// /run.
func sameSocket(one, other string) bool { return resolved(one) == resolved(other) }

// resolved is a path without links in its directory.
func resolved(path string) string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, filepath.Base(path))
}

// inherited are the sockets with which the process was started.
type inherited struct {
	main      *net.UnixListener // nil if there is none
	others    []handed          // those with an identity
	bySystemd bool              // not by the monitor
}

func inherit() (inherited, error) {
	bySystemd := os.Getenv("LISTEN_PID") != "" // which the monitor leaves out
	sockets, err := takeHanded()
	h := inherited{bySystemd: bySystemd}
	for _, s := range sockets {
		switch {
		case strings.HasPrefix(s.name, identityPrefix):
			h.others = append(h.others, s)
		case h.main == nil:
			h.main = s.UnixListener
		default:
			return h, fmt.Errorf("the sockets %s and %s were handed over, expected one, and those of [NAME/socket ...]",
				linux.SocketPath(h.main), linux.SocketPath(s.UnixListener))
		}
	}
	if h.main == nil && len(h.others) > 0 {
		return h, fmt.Errorf("the socket %s was handed over, but not the responder's main one", linux.SocketPath(h.others[0].UnixListener))
	}
	return h, err
}

// open returns the sockets that were handed over, or binds the configured ones.
// The first is the main one.
func (h inherited) open(d Descriptor, root Root, conf *confdb.Snapshot, logger *log.Logger) ([]endpoint, error) {
	path := d.SocketPath(root, conf)
	if h.main == nil {
		l, err := Listen(path, d.SocketMode)
		if err != nil {
			return nil, err
		}
		endpoints := []endpoint{{l, nil}}
		for _, s := range d.IdentitySockets(root, conf) {
			if l, err := s.listen(); err != nil {
				logger.Error("an identity socket cannot be had", "socket", s.Name, "error", err)
			} else {
				endpoints = append(endpoints, s.endpoint(l))
			}
		}
		return endpoints, nil
	}
	if h.bySystemd && len(d.Command(conf)) > 0 {
		logger.Error("command has no effect where systemd starts the responder; edit its unit instead")
	}
	if at := linux.SocketPath(h.main); d.SocketOption != "" && conf.Section(d.Section()).IsSet(d.SocketOption) && !sameSocket(at, path) {
		logger.Error("the socket that was handed over is not the configured one, which has no effect; edit the socket's unit instead", "handed", at, "configured", path)
	}
	return append([]endpoint{{h.main, nil}}, h.identityEndpoints(d, root, conf, logger)...), nil
}

// identityEndpoints joins the identity sockets that were handed over with those
// that are configured.
func (h inherited) identityEndpoints(d Descriptor, root Root, conf *confdb.Snapshot, logger *log.Logger) []endpoint {
	var endpoints []endpoint
	handedOver := map[string]*net.UnixListener{}
	for _, s := range h.others {
		handedOver[s.name] = s.UnixListener
	}
	for _, s := range d.IdentitySockets(root, conf) {
		l := handedOver[s.FDName()]
		delete(handedOver, s.FDName())
		if l == nil {
			logger.Error("an identity socket was not handed over; restart "+layout.Current().Monitor+", which makes it", "socket", s.Name)
			continue
		}
		endpoints = append(endpoints, s.endpoint(l))
	}
	for name, l := range handedOver { // nobody knows any more who its clients are
		logger.Error("a socket was handed over that is not configured; it is closed", "name", name, "path", linux.SocketPath(l))
		_ = l.Close()
	}
	return endpoints
}

// toLend are the sockets that the monitor may listen on as well: all, unless
// systemd holds them.
func (h inherited) toLend(endpoints []endpoint) (sockets []*net.UnixListener) {
	for _, e := range endpoints {
		if !h.bySystemd {
			sockets = append(sockets, e.UnixListener)
		}
	}
	return sockets
}

// refuse answers the clients of systemd's sockets for a while, where the process
// cannot start; then systemd starts it again. The monitor answers those of its
// own sockets.
func (h inherited) refuse(d Descriptor) {
	if h.main == nil || !h.bySystemd {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), refuseTime)
	defer cancel()
	var refusing sync.WaitGroup
	defer refusing.Wait()
	for _, s := range h.others {
		refusing.Go(func() { d.Refuse(ctx, s.UnixListener) })
	}
	d.Refuse(ctx, h.main)
}
