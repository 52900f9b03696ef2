package sbus

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"gosssd/linux"
)

// A client may lend the server its listening sockets: a responder those that an
// earlier monitor left to it. They come with the NUL byte that begins each
// connection, before D-Bus does, since a monitor has to have them before it can
// serve; messages with descriptors are not offered. A server that knows nothing
// of them reads the byte, and the kernel closes them.

// maxLent bounds how many descriptors one connection may lend.
const maxLent = 64

// lend sends the NUL byte, and the sockets with it.
func lend(conn *net.UnixConn, sockets []*net.UnixListener) (err error) {
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	for _, socket := range sockets {
		fd, err := linux.Duplicate(socket)
		if errors.Is(err, net.ErrClosed) {
			continue
		} else if err != nil {
			return fmt.Errorf("lend a socket: %w", err)
		}
		fds = append(fds, fd)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds[:min(len(fds), maxLent)]...)
	}
	_, _, err = conn.WriteMsgUnix([]byte{0}, rights, nil)
	return err
}

// borrower reads from a connection, and keeps the descriptors that come with its
// first bytes.
type borrower struct {
	conn  *net.UnixConn
	begun bool
	lent  []*os.File
}

func (b *borrower) Read(p []byte) (int, error) {
	if b.begun {
		return b.conn.Read(p)
	}
	b.begun = true
	rights := make([]byte, unix.CmsgSpace(4*maxLent))
	n, size, _, _, err := b.conn.ReadMsgUnix(p, rights)
	b.lent = filesOf(rights[:size])
	return n, err
}

// filesOf are the files in the control messages of a read.
func filesOf(control []byte) (files []*os.File) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // credentials, that nobody has asked for
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "lent"))
		}
	}
	return files
}

// TakeLent returns what a connection has lent, which is the caller's then.
// A second call returns nothing.
func (s *Server) TakeLent(peer uint64) []*os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[peer]
	if p == nil {
		return nil
	}
	files := p.lent
	p.lent = nil
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // nothing was written
	}
}
