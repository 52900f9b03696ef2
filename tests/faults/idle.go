package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/kcm/protocol"
)

// An idle server is one that nobody attacks and that does next to nothing: it
// answers every request at once, after a write and a flush of the disk where
// the request is a change. Beside a server that is attacked it tells what the
// attack takes from everybody on this machine: turns on its processors and its
// disk. No server can answer faster than that.

// idleWrite is what a change writes, as much as a ticket takes.
const idleWrite = 2000

// serveIdle is the idle server of a socket, until stop is closed.
func serveIdle(socket string, stop <-chan struct{}) error {
	disk, err := os.CreateTemp(filepath.Dir(socket), "idle")
	if err != nil {
		return err
	}
	defer disk.Close()
	if err := errors.Join(os.Remove(disk.Name()), unix.Fallocate(int(disk.Fd()), 0, 0, 1<<20), disk.Sync()); err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		return err
	}
	go func() {
		<-stop
		_ = listener.Close()
	}()
	for n := int64(0); ; n++ {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		go answerAll(conn, disk, n%8*128<<10)
	}
}

// answerAll answers one client, and writes at a place of its own.
func answerAll(conn net.Conn, disk *os.File, at int64) {
	defer conn.Close()
	buf := make([]byte, 64<<10)
	for have := 0; ; {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return
		}
		have += n
		body, _, err := protocol.CutRequest(buf[:have])
		if err != nil {
			return
		} else if body == nil {
			continue
		}
		have = 0 // a client sends one request at a time
		request, err := protocol.ParseRequest(body)
		if err != nil {
			return
		}
		var reply protocol.Reply
		switch request.Op {
		case protocol.OpInitialize, protocol.OpStore:
			_, err = disk.WriteAt(make([]byte, idleWrite), at)
			err = errors.Join(err, unix.Fdatasync(int(disk.Fd())))
		case protocol.OpGetCredList:
			reply.Results = []byte{0, 0, 0, 0}
		}
		if err != nil {
			return
		}
		if _, err := conn.Write(protocol.AppendReply(nil, reply)); err != nil {
			return
		}
	}
}

// idle is an idle server and its client, which are processes of their own.
type idle struct{ server, client *worker }

// startIdle starts both. The files are in a directory of the same disk as
// those of the servers.
func (b *bench) startIdle() (*idle, error) {
	socket := filepath.Join(b.dir, "idle.socket")
	server, err := hire(0, task{Do: "idle", Socket: socket})
	if err != nil {
		return nil, err
	}
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		if conn, err := net.Dial("unix", socket); err == nil {
			_ = conn.Close()
			break
		} else if time.Since(begin) > patience {
			return nil, errors.Join(err, closing(server))
		}
	}
	client, err := hire(honestUser, task{Socket: socket, Idle: true})
	if err != nil {
		return nil, errors.Join(err, closing(server))
	}
	return &idle{server, client}, nil
}

func closing(w *worker) error {
	_, err := w.finish()
	return err
}

// finish ends both and returns what the client saw.
func (i *idle) finish() (report, error) {
	r, err := i.client.finish()
	return r, errors.Join(err, closing(i.server))
}
