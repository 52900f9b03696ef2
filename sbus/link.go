package sbus

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/hashicorp/go-hclog"
)

// Bounds of what is kept for one connection.
const (
	maxQueued      = 256     // messages that wait to be written
	maxQueuedBytes = 4 << 20 // their bytes
	maxJobs        = 64      // calls that wait for their handler

	// maxDelay bounds how long a peer that reads more slowly than others send
	// may make them wait, in all; they look again every roomPoll.
	maxDelay = 2 * time.Second
	roomPoll = time.Millisecond

	// flushTimeout bounds how long the last messages of an ending connection
	// may take.
	flushTimeout = time.Second
)

// link is what both ends of a connection have in common. It reads on one
// goroutine, writes on another, so that no reader ever waits for a peer that
// does not read, and runs handlers on a third, so that replies and pings are
// seen while a handler works.
type link struct {
	conn         *net.UnixConn
	in           *bufio.Reader
	log          hclog.Logger
	writeTimeout time.Duration
	serials      *atomic.Uint32 // the last one used

	out     chan []byte
	queued  atomic.Int64 // bytes in out
	delayed atomic.Int64 // nanoseconds others have waited for room in out
	jobs    chan func(context.Context)
	dead    chan struct{} // closed when no more is read

	mu      sync.Mutex
	calls   map[uint32]chan *frame // by serial
	cause   error                  // why the connection was cut
	flushBy time.Time              // when the last bytes must be written; zero until the end
}

func newLink(conn *net.UnixConn, serials *atomic.Uint32, writeTimeout time.Duration, log hclog.Logger) *link {
	return &link{
		conn:         conn,
		in:           bufio.NewReader(conn),
		log:          log,
		writeTimeout: writeTimeout,
		serials:      serials,
		out:          make(chan []byte, maxQueued),
		jobs:         make(chan func(context.Context), maxJobs),
		dead:         make(chan struct{}),
		calls:        make(map[uint32]chan *frame),
	}
}

// run serves the connection until it ends, hands each message to handle, and
// returns why it ended, io.EOF if the peer closed it. Results of handlers that
// have run are still sent.
func (l *link) run(ctx context.Context, handle func(*frame) error) error {
	ctx, cancel := context.WithCancel(ctx)
	flush := make(chan struct{})
	var handlers, writer sync.WaitGroup
	handlers.Go(func() { l.work(ctx) })
	writer.Go(func() { l.write(flush) })

	err := l.read(handle)
	close(l.dead)
	close(l.jobs)
	cancel()
	handlers.Wait()
	l.limitFlush()
	close(flush)
	writer.Wait()
	_ = l.conn.Close()

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cause != nil {
		return l.cause
	}
	return err
}

// read reads until the connection ends. No message may end the process, whatever
// it sets off.
func (l *link) read(handle func(*frame) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			l.log.Error("D-Bus message could not be handled", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errFrame, r)
		}
	}()
	for {
		raw, err := readFrame(l.in)
		if err != nil {
			return err
		}
		if raw[1] > byte(dbus.TypeSignal) {
			continue // the specification wants unknown types ignored
		}
		f, err := parseFrame(raw)
		if err != nil {
			return err
		}
		if err := handle(f); err != nil {
			return err
		}
	}
}

func (l *link) work(ctx context.Context) {
	for job := range l.jobs {
		if ctx.Err() == nil {
			job(ctx)
		}
	}
}

func (l *link) write(flush <-chan struct{}) {
	for {
		select {
		case raw := <-l.out:
			l.limitWrite()
			if !l.writeOne(raw) {
				return
			}
		case <-flush:
			for open := true; open && len(l.out) > 0; {
				open = l.writeOne(<-l.out)
			}
			return
		}
	}
}

// limitWrite gives the next message its time. Setting a deadline fails only on a
// closed connection, where the write fails as well.
func (l *link) limitWrite() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.flushBy.IsZero() {
		_ = l.conn.SetWriteDeadline(time.Now().Add(l.writeTimeout))
	}
}

// limitFlush gives all that is still queued its time, also to a message that is
// being written.
func (l *link) limitFlush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flushBy = time.Now().Add(flushTimeout)
	_ = l.conn.SetWriteDeadline(l.flushBy)
}

func (l *link) writeOne(raw []byte) bool {
	_, err := l.conn.Write(raw)
	l.queued.Add(-int64(len(raw)))
	if err != nil {
		l.cut(fmt.Errorf("write: %w", err))
	}
	return err == nil
}

// offer queues a message unless too much waits already. It never blocks.
func (l *link) offer(f *frame) error { return l.offerUpTo(f, maxQueued) }

// offerUnasked queues a message that the peer has not asked for now: one that
// another peer has caused, or a signal. Half of the queue is kept from those,
// for what the peer itself has asked for.
func (l *link) offerUnasked(f *frame) error { return l.offerUpTo(f, maxQueued/2) }

func (l *link) offerUpTo(f *frame, messages int) error {
	bytes := int64(messages) * (maxQueuedBytes / maxQueued)
	if l.queued.Add(int64(len(f.raw))) <= bytes && len(l.out) < messages {
		select {
		case l.out <- f.raw:
			return nil
		default:
		}
	}
	l.queued.Add(-int64(len(f.raw)))
	return ErrQueueFull
}

// halfFull reports whether more than half of the queue is in use.
func (l *link) halfFull() bool { return len(l.out) > maxQueued/2 || l.queued.Load() > maxQueuedBytes/2 }

// awaitRoom waits until less than half of the queue is in use, and cuts the connection
// once it has made others wait too long.
func (l *link) awaitRoom() {
	for l.halfFull() {
		if l.delayed.Add(int64(roomPoll)) > int64(maxDelay) {
			l.cut(ErrQueueFull)
			return
		}
		select {
		case <-l.dead:
			return
		case <-time.After(roomPoll):
		}
	}
}

// send queues a message that the peer itself has caused. Where it does not read
// such messages, the connection is cut.
func (l *link) send(f *frame) {
	if err := l.offer(f); err != nil {
		l.cut(err)
	}
}

// cut ends the connection at once; the first cause is kept.
func (l *link) cut(cause error) {
	l.mu.Lock()
	if l.cause == nil {
		l.cause = cause
	}
	l.mu.Unlock()
	_ = l.conn.Close()
}

// end lets the connection end in order: nothing more is read, what is queued
// is written.
func (l *link) end() { _ = l.conn.CloseRead() }

// queueHandler queues a handler; false if too many wait.
func (l *link) queueHandler(job func(context.Context)) bool {
	select {
	case l.jobs <- job:
		return true
	default:
		return false
	}
}

func nextSerial(last *atomic.Uint32) uint32 {
	for {
		if n := last.Add(1); n != 0 { // 0 is invalid
			return n
		}
	}
}

// call sends a call through transmit and waits for its answer.
func (l *link) call(ctx context.Context, f *frame, transmit func(*frame) error) ([]any, error) {
	answer := make(chan *frame, 1)
	l.mu.Lock()
	l.calls[f.serial] = answer
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, f.serial)
	}()
	if err := transmit(f); err != nil {
		return nil, err
	}
	select {
	case reply := <-answer:
		if reply.kind == dbus.TypeError {
			return nil, errorOf(reply)
		}
		return reply.args()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.dead:
		return nil, ErrClosed
	}
}

// answered hands a reply to the call that waits for it.
func (l *link) answered(reply *frame) {
	l.mu.Lock()
	answer, ok := l.calls[reply.replySerial()]
	delete(l.calls, reply.replySerial())
	l.mu.Unlock()
	if !ok {
		l.log.Debug("ignoring a reply nobody waits for", "serial", reply.replySerial())
		return
	}
	answer <- reply
}
