// Package simulation runs sssd_kcm's server, its clients, its clock and its disk
// in one process, by a schedule that comes from a seed. A step of the schedule
// has a client ask for something, decides what the disk does with a change that
// waits for it, lets time pass, or cuts the power and starts the server again.
// Between two steps everything comes to rest, so that the same schedule makes
// the same history, or one of a few where timers come due at the same moment. A
// model of KCM decides whether each user's answers can be right
// (linearizability, by porcupine).
package simulation

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"gosssd/confdb"
	"gosssd/kcm"
	"gosssd/kcm/client"
	"gosssd/linux"
	"gosssd/responder"
	"gosssd/responder/log"
)

const (
	users   = 2
	clients = 6 // three of each user
	firstID = 1000
	realm   = "EXAMPLE.ORG"
)

// world is a server with its clients, its disk and its time.
type world struct {
	t       *testing.T
	keeper  keeper
	conf    *confdb.Snapshot
	server  *kcm.Server
	alive   *atomic.Bool // of the process that runs
	served  *sync.WaitGroup
	random  io.Reader
	callers [clients]caller
	asked   sync.WaitGroup
	ending  atomic.Bool // the schedule is over
	settled bool        // all that ends had the time to
	logins  *sessions
	starts  int // of processes

	mu       sync.Mutex
	conns    []net.Conn // to the process that runs
	clock    int64      // counts the calls and returns of the history
	history  []porcupine.Operation
	returned []porcupine.Operation // in this step
	trace    strings.Builder
	names    []name // that servers have made up
}

// name is one that a process has made up.
type name struct {
	uid   uint32
	text  string
	start int // number of the process
}

// madeUp returns the last name that was made up for a user.
func (w *world) madeUp(uid uint32) (last name, found bool) {
	for _, n := range w.names {
		if n.uid == uid {
			last, found = n, true
		}
	}
	return last, found
}

// label is what the trace calls a cache: made up names differ from run to run.
func (w *world) label(cache string) string {
	for i, n := range w.names {
		if n.text == cache {
			return fmt.Sprintf("%d:new%d", n.uid, i)
		}
	}
	return cache
}

// caller is a client program.
type caller struct {
	*client.Client
	busy bool
}

// run plays a schedule on a medium and returns what the clients have seen.
func run(t *testing.T, steps []step, medium medium) (history []porcupine.Operation, trace string) {
	t.Helper()
	planted := none
	if m, ok := medium.(*memory); ok {
		planted = m.planted
	}
	return runOn(t, steps, planted, func() (keeper, error) { return &disk{medium: medium}, medium.open() })
}

// runOn plays a schedule on a keeper.
func runOn(t *testing.T, steps []step, planted fault, begin func() (keeper, error)) (history []porcupine.Operation, trace string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		kept, err := begin()
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, kept, planted)
		for _, s := range steps {
			w.play(s)
			w.rest()
		}
		w.end()
		history, trace = w.history, w.trace.String()
	})
	return history, trace
}

func newWorld(t *testing.T, kept keeper, planted fault) *world {
	conf, err := confdb.NewSnapshot(confdb.Schema(kcm.Descriptor().Sections), map[string]map[string]string{"kcm": {
		"system_bus": "false", "purge_expired_grace": "0", "ccache_storage": "secdb",
		"tgt_renewal": "true", "krb5_renew_interval": "60s", "session_caches": "yes",
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, keeper: kept, conf: conf, random: rand.NewChaCha8([32]byte{1}), logins: newSessions(planted)}
	w.start()
	return w
}

// start begins a process on the disk.
func (w *world) start() {
	alive := &atomic.Bool{}
	alive.Store(true)
	stores := kcm.Stores{
		Open:  func(string) (kcm.Store, error) { return w.keeper.store(func() bool { return !alive.Load() }), nil },
		Group: func(uint32) uint32 { return kcm.NoGID },
	}
	var mu sync.Mutex
	random := reader(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return w.random.Read(p)
	})
	service := &responder.Service{Descriptor: kcm.Descriptor(), Conf: w.conf, Log: log.Discard(), Signal: func(string, ...any) {}}
	w.starts++
	handler, err := kcm.New(stores, w.renew, nil, w.logins.open, time.Now, random)(service)
	if err != nil {
		w.t.Fatal(err)
	}
	w.server, w.alive, w.served = handler.(*kcm.Server), alive, &sync.WaitGroup{}
	for i := range w.callers {
		w.callers[i].Client = client.Over(w.dial(firstID+uint32(i%users)), 0)
	}
}

type reader func(p []byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }

// dial returns what connects a client of a user with the process.
func (w *world) dial(uid uint32) func() (io.ReadWriteCloser, error) {
	server, served, alive := w.server, w.served, w.alive
	return func() (io.ReadWriteCloser, error) {
		if !alive.Load() {
			return nil, errDead
		}
		near, far := net.Pipe()
		w.mu.Lock()
		w.conns = append(w.conns, near)
		w.mu.Unlock()
		served.Go(func() {
			defer far.Close()
			server.Converse(context.Background(), pipe{far, w.logins, uid}, responder.Peer{UID: uid, GID: uid}, log.Discard())
		})
		return near, nil
	}
}

// pipe is a connection that does not tell when it was active.
type pipe struct {
	net.Conn
	logins *sessions
	uid    uint32
}

func (pipe) Active() time.Duration { return 0 }
func (pipe) Touch()                {}

// Process returns a process for a client that is in a login session.
func (p pipe) Process() (*linux.Process, error) { return p.logins.process(p.uid) }

func (w *world) play(s step) {
	switch s.move {
	case ask:
		w.ask(s.client, s.request)
	case decide:
		w.keeper.decide(int(s.bits%clients), s.verdict)
	case pass:
		if w.idle() { // a server may give up what waits for long, and do it later
			time.Sleep(s.pass)
		}
	case crash:
		w.crash(s.bits)
	case session:
		if w.idle() { // so that who asks knows which session it is in
			w.logins.toggle(s.request.uid)
		}
	case failLoad:
		w.keeper.failLoad(s.request.uid)
	}
}

func (w *world) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.callers {
		if c.busy {
			return false
		}
	}
	return true
}

// ask has a client send a request, if it does not wait for an answer.
func (w *world) ask(which int, r request) {
	c := &w.callers[which]
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.busy {
		return
	}
	c.busy = true
	w.settleRequest(&r)
	w.clock++
	call, connection := w.clock, c.Client
	w.asked.Go(func() {
		a := send(connection, r)
		a.at, a.settled = time.Now().Unix(), w.settled
		w.mu.Lock()
		defer w.mu.Unlock()
		w.returned = append(w.returned, porcupine.Operation{ClientId: which, Input: r, Call: call, Output: a})
		c.busy = false
	})
}

// settleRequest makes of what a schedule says what is asked for now.
func (w *world) settleRequest(r *request) {
	r.end += time.Now().Unix()
	r.session, r.over = w.logins.of(r.uid)
	if r.cache == madeUp {
		made, found := w.madeUp(r.uid)
		if !found {
			r.action = newName
		}
		r.cache, r.binds, r.tgt = made.text, r.session != 0 && made.start == w.starts, false
	}
	if r.action == newName {
		r.cache = ""
	}
}

// rest waits until everything is at rest, and notes what has been answered. All
// answers of one step come at the same time, in the order of the clients.
func (w *world) rest() {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.returned, func(a, b porcupine.Operation) int { return a.ClientId - b.ClientId })
	for _, o := range w.returned {
		w.clock++
		o.Return = w.clock
		w.history = append(w.history, o)
		r, a := o.Input.(request), o.Output.(answer)
		if a.name != "" {
			w.names = append(w.names, name{r.uid, a.name, w.starts})
		}
		fmt.Fprintf(&w.trace, "%d-%d client %d: %s %s %d: %s %s\n", o.Call, o.Return, o.ClientId, actionNames[r.action], w.label(r.cache+a.name), r.ticket, kindNames[a.kind], a.tickets)
	}
	w.returned = nil
}

// crash ends processes, and starts them again. Each bit says whether a change
// that waited is made.
func (w *world) crash(bits uint64) {
	if w.keeper.spares(bits) {
		if err := w.keeper.crash(bits); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	w.stop(bits)
	w.start()
}

func (w *world) stop(bits uint64) {
	w.alive.Store(false)
	w.mu.Lock()
	conns := w.conns
	w.conns = nil
	w.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
		w.rest()
	}
	err := w.keeper.crash(bits)
	if err != nil {
		w.t.Fatal(err)
	}
	w.asked.Wait()
	w.served.Wait()
	if err := w.server.Close(); err != nil {
		w.t.Error(err)
	}
}

// end lets everything be answered, starts once more, and has each user look,
// again when all sessions are over and what ends with them had the time to go.
func (w *world) end() {
	w.ending.Store(true)
	w.settle()
	w.crash(0)
	w.rest()
	w.look()
	if w.logins.end() {
		for range 3 {
			w.settle()
			time.Sleep(2 * time.Minute) // what could not be removed is tried again
		}
		w.settle()
		w.settled = true
		w.look()
	}
	w.stop(0)
	if err := w.keeper.close(); err != nil {
		w.t.Error(err)
	}
}

// look has each user list all caches that there may be.
func (w *world) look() {
	for i := range users {
		uid := firstID + uint32(i)
		caches := []string{fmt.Sprintf("%d:a", uid), fmt.Sprintf("%d:b", uid)}
		for _, n := range w.names {
			if n.uid == uid {
				caches = append(caches, n.text)
			}
		}
		for _, cache := range caches {
			w.ask(i, request{uid: uid, action: list, cache: cache})
			w.settle()
		}
	}
}

func (w *world) settle() {
	w.rest()
	for w.keeper.decide(0, made) {
		w.rest()
	}
}
