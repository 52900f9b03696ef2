package simulation

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"gosssd/confdb"
	"gosssd/kcm"
	"gosssd/responder"
	"gosssd/responder/log"
	"gosssd/secrets"
	"gosssd/secrets/client"
	"gosssd/secrets/records"
	"gosssd/secrets/rest"
	"gosssd/secrets/vault"
)

// between is the secrets service, over its vault, as the server's processes use
// it. A change waits on its way to the service until the schedule decides:
// another word for the verdicts of a disk. Either of the two processes may be
// killed alone. What a server has sent before it was killed is still on its way.
type between struct {
	base    string // the directories of all processes of the service
	planted fault

	mu       sync.Mutex
	up       chan struct{}  // closed while a process runs
	root     responder.Root // of the process that runs
	service  service
	wires    []*wire // to it
	served   *sync.WaitGroup
	waiting  []*letter
	sent     int    // changes so far
	unlucky  uint32 // whose next load fails; 0: nobody's
	relaying sync.WaitGroup
}

// service is what rest.New makes.
type service interface {
	responder.Handler
	Converse(ctx context.Context, conn rest.Connection, peer responder.Peer, logger *log.Logger)
}

var _ keeper = (*between)(nil)

func newBetween(base string, planted fault) (*between, error) {
	b := &between{base: base, planted: planted, up: make(chan struct{})}
	return b, b.start(func(responder.Root) error { return nil })
}

// start begins a process of the service, on what fill makes of its root.
func (b *between) start(fill func(responder.Root) error) error {
	dir, err := os.MkdirTemp(b.base, "secrets")
	if err != nil {
		return err
	}
	root := responder.Root(dir)
	conf, err := confdb.NewSnapshot(confdb.Schema(secrets.Descriptor().Sections), nil)
	if err == nil {
		err = os.MkdirAll(root.Path(responder.SecretsDir), 0o700)
	}
	if err == nil {
		err = fill(root)
	}
	if err != nil {
		return err
	}
	handler, err := rest.New(vault.Open)(&responder.Service{Descriptor: secrets.Descriptor(), Conf: conf, Root: root, Log: log.Discard(), Signal: func(string, ...any) {}})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.root, b.service, b.wires, b.served = root, handler.(service), nil, &sync.WaitGroup{}
	close(b.up)
	return nil
}

// letter is a change on its way.
type letter struct {
	number  int
	uid     uint32
	verdict chan verdict
}

func (b *between) store(dead func() bool) kcm.Store {
	return client.Over("the secrets service", func(ctx context.Context) (net.Conn, error) {
		for {
			b.mu.Lock()
			up := b.up
			b.mu.Unlock()
			select {
			case <-up:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			if dead() {
				return nil, errDead
			}
			if conn := b.connect(); conn != nil {
				return conn, nil
			}
		}
	})
}

// wire is a connection of a server with the service: a pipe on each side, and
// what lies between the two.
type wire struct {
	between *between
	client  net.Conn // the server's end
	near    net.Conn // the other end of it
	far     net.Conn // the other end of that of the service
	hungUp  atomic.Bool
	after   atomic.Int64 // bytes of answers that still come through; negative: all
}

// connect connects to the service; nil if it does not run.
func (b *between) connect() net.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.up:
	default:
		return nil
	}
	w := &wire{between: b}
	w.after.Store(-1)
	var service net.Conn
	w.client, w.near = net.Pipe()
	w.far, service = net.Pipe()
	b.wires = append(b.wires, w)
	process := b.service
	b.served.Go(func() {
		process.Converse(context.Background(), socket{service, w}, responder.Peer{UID: uint32(os.Geteuid())}, log.Discard())
	})
	b.relaying.Go(w.ask)
	b.relaying.Go(w.answer)
	return end{w.client}
}

// end is the server's end. Unlike a pipe, a socket takes deadlines when its other
// end is closed.
type end struct{ net.Conn }

func (e end) SetDeadline(t time.Time) error {
	if err := e.Conn.SetDeadline(t); !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

// socket is the service's end.
type socket struct {
	net.Conn
	wire *wire
}

func (s socket) CloseWrite() error { return s.Close() }
func (s socket) HungUp() bool      { return s.wire.hungUp.Load() }

func (w *wire) close() {
	_, _ = w.near.Close(), w.far.Close()
}

// ask takes requests on: what a client has sent is on its way also when that has
// hung up.
func (w *wire) ask() {
	defer w.far.Close()
	requests := make(chan records.Frame, 2*length) // a client waits for an answer before it sends another
	w.between.relaying.Go(func() {
		defer close(requests)
		defer w.hungUp.Store(true)
		in := records.NewReader(w.near)
		if in.Wait() != nil || in.Text(records.UpgradeRequest) != nil {
			return
		}
		requests <- records.Frame{}
		for in.Wait() == nil {
			frame, err := in.Next(math.MaxUint32)
			if err != nil {
				return
			}
			frame.Content = bytes.Clone(frame.Content)
			requests <- frame
		}
	})
	for frame := range requests {
		message := []byte(records.UpgradeRequest)
		if frame.Kind != 0 {
			message = append(records.Begin(nil, frame.Kind), frame.Content...)
			records.End(message)
		}
		if !w.deliver(frame, message) {
			w.close()
		}
	}
}

// deliver brings a request to the service, and reports whether the connection
// goes on.
func (w *wire) deliver(frame records.Frame, message []byte) bool {
	v := made
	switch subject, _, err := records.CutSubject(frame.Content); {
	case err != nil: // it is of no user
	case frame.Kind == records.Load && w.between.takeUnlucky(subject.UID):
		v = failedAndMade
	case frame.Kind == records.Commit:
		v = w.between.await(subject.UID)
		if w.hungUp.Load() && w.between.planted == unfenced {
			clear(message[len(message)-len(frame.Content)+4:][:len(records.Token{})])
		}
	}
	switch v {
	case full: // half of it comes
		_, _ = w.far.Write(message[:len(message)/2])
		return false
	case failedAndWas:
		return false
	case failedAndMade:
		w.after.CompareAndSwap(-1, 1)
	}
	_, err := w.far.Write(message)
	return err == nil
}

// answer brings answers back, or their beginning.
func (w *wire) answer() {
	part := make([]byte, 64<<10)
	for {
		n, err := w.far.Read(part)
		if left := w.after.Load(); left >= 0 {
			n = min(n, int(left))
			w.after.Store(left - int64(n))
		}
		if n > 0 {
			_, _ = w.near.Write(part[:n])
		}
		if err != nil || w.after.Load() == 0 {
			_ = w.near.Close()
		}
		if err != nil {
			return
		}
	}
}

// await waits until the schedule decides about a change.
func (b *between) await(uid uint32) verdict {
	b.mu.Lock()
	own := &letter{b.sent, uid, make(chan verdict, 1)}
	b.sent++
	b.waiting = append(b.waiting, own)
	b.mu.Unlock()
	return <-own.verdict
}

func (b *between) decide(which int, v verdict) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return false
	}
	own := b.inOrder()[which%len(b.waiting)]
	b.waiting = slices.DeleteFunc(b.waiting, func(l *letter) bool { return l == own })
	own.verdict <- v
	return true
}

// inOrder are the changes on their way. The caller holds mu.
func (b *between) inOrder() []*letter {
	slices.SortFunc(b.waiting, func(x, y *letter) int {
		if x.uid != y.uid {
			return int(x.uid) - int(y.uid)
		}
		return x.number - y.number
	})
	return b.waiting
}

func (b *between) takeUnlucky(uid uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.unlucky != uid {
		return false
	}
	b.unlucky = 0
	return true
}

func (b *between) failLoad(uid uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unlucky = uid
}

// Which processes a crash ends, by its last bits.
const (
	both = iota
	theService
	theServer
	crashes
)

func (b *between) spares(bits uint64) bool { return bits%crashes == theService }

func (b *between) crash(bits uint64) error {
	if bits%crashes == theServer {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, w := range b.wires {
			_ = w.client.Close()
		}
		return nil
	}
	bits /= crashes
	b.mu.Lock()
	b.up = make(chan struct{}) // who connects waits, as in the backlog of a socket
	before, old, wires, served := b.root, b.service, b.wires, b.served
	for _, w := range wires {
		w.after.Store(0) // no answer comes any more
	}
	for _, l := range b.inOrder() {
		l.verdict <- [...]verdict{failedAndWas, made}[bits%2]
		bits /= 2
	}
	b.waiting = nil
	b.mu.Unlock()
	synctest.Wait()
	err := b.start(func(now responder.Root) error {
		return copyFiles(before.Path(responder.SecretsDir), now.Path(responder.SecretsDir))
	})
	for _, w := range wires {
		w.close()
	}
	served.Wait()
	return errors.Join(err, old.Close(), os.RemoveAll(string(before)))
}

func copyFiles(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (b *between) close() error {
	for _, w := range b.wires {
		w.close()
	}
	b.served.Wait()
	b.relaying.Wait()
	return errors.Join(b.service.Close(), os.RemoveAll(string(b.root)))
}
