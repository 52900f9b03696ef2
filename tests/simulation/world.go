// Package simulation runs sssd_kcm's server, its clients, its clock and its disk
// in one process, by a schedule that comes from a seed. A step of the schedule
// has a client ask for something, decides what the disk does with a change that
// waits for it, lets time pass, or cuts the power and starts the server again.
// Between two steps everything comes to rest, so that the same schedule makes
// the same history. A model of KCM decides whether each user's answers can be
// right (linearizability, by porcupine).
package simulation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
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
	"gosssd/kcm/protocol"
	"gosssd/responder"
	"gosssd/responder/log"
)

const (
	users   = 2
	clients = 6 // three of each user
	firstID = 1000
	realm   = "EXAMPLE.ORG"
)

// move is what a step does.
type move int

const (
	ask move = iota
	decide
	pass
	crash
	failLoad
)

// step is one step of a schedule. A step that cannot be done is left out, so
// that any part of a schedule is a schedule.
type step struct {
	move    move
	client  int
	request request
	verdict verdict
	pass    time.Duration
	bits    uint64
}

func (s step) String() string {
	switch s.move {
	case ask:
		return fmt.Sprintf("client %d: %s %s ticket %d", s.client, actionNames[s.request.action], s.request.cache, s.request.ticket)
	case decide:
		return fmt.Sprintf("the disk decides: %d", s.verdict)
	case pass:
		return fmt.Sprintf("%v pass", s.pass)
	case crash:
		return "the power is cut"
	}
	return "the next load fails"
}

// length is how many steps a schedule has.
const length = 60

// schedule returns that of a seed.
func schedule(seed uint64) []step {
	r := rand.New(rand.NewPCG(seed, 1))
	programs, caches := clients, 2
	if seed%2 == 1 { // all of one user, who meet in one cache
		programs, caches = clients/users, 1
	}
	steps := make([]step, length)
	for i := range steps {
		s := step{client: r.IntN(programs), bits: r.Uint64()}
		if programs < clients {
			s.client *= users
		}
		uid := firstID + uint32(s.client%users)
		s.request = request{
			uid: uid, action: [...]action{initialize, initialize, store, store, store, destroy, list, list}[r.IntN(8)],
			cache: fmt.Sprintf("%d:%c", uid, 'a'+r.IntN(caches)), ticket: i, end: int64(1+r.IntN(4)) * 3600,
		}
		s.request.tgt = strings.HasSuffix(s.request.cache, "a") && r.IntN(2) == 0 // one at most is due at a time
		s.pass = [...]time.Duration{time.Second, time.Minute, 20 * time.Minute, 2 * time.Hour}[r.IntN(4)]
		switch n := r.IntN(100); {
		case n < 48:
			s.move = ask
		case n < 88:
			s.move = decide
			if r.IntN(5) == 0 {
				s.verdict = verdict(r.IntN(int(verdicts)))
			}
		case n < 95:
			s.move = pass
		case n < 98:
			s.move = crash
		default:
			s.move = failLoad
		}
		steps[i] = s
	}
	return steps
}

// world is a server with its clients, its disk and its time.
type world struct {
	t       *testing.T
	disk    *disk
	conf    *confdb.Snapshot
	server  *kcm.Server
	alive   *atomic.Bool // of the process that runs
	served  *sync.WaitGroup
	random  io.Reader
	callers [clients]caller
	asked   sync.WaitGroup

	mu       sync.Mutex
	conns    []net.Conn // to the process that runs
	clock    int64      // counts the calls and returns of the history
	history  []porcupine.Operation
	returned []porcupine.Operation // in this step
	trace    strings.Builder
}

// caller is a client program.
type caller struct {
	*client.Client
	busy bool
}

// run plays a schedule and returns what the clients have seen.
func run(t *testing.T, steps []step, medium medium) (history []porcupine.Operation, trace string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, medium)
		for _, s := range steps {
			w.play(s)
			w.rest()
		}
		w.end()
		history, trace = w.history, w.trace.String()
	})
	return history, trace
}

func newWorld(t *testing.T, medium medium) *world {
	conf, err := confdb.NewSnapshot(confdb.Schema(kcm.Descriptor().Sections), map[string]map[string]string{"kcm": {
		"system_bus": "false", "purge_expired_grace": "0", "ccache_storage": "secdb",
		"tgt_renewal": "true", "krb5_renew_interval": "60s",
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, disk: &disk{medium: medium}, conf: conf, random: rand.NewChaCha8([32]byte{1})}
	if err := medium.open(); err != nil {
		t.Fatal(err)
	}
	w.start()
	return w
}

// start begins a process on the disk.
func (w *world) start() {
	alive := &atomic.Bool{}
	alive.Store(true)
	stores := kcm.Stores{
		Open:  func(string) (kcm.Store, error) { return process{w.disk, func() bool { return !alive.Load() }}, nil },
		Group: func(uint32) uint32 { return kcm.NoGID },
	}
	var mu sync.Mutex
	random := reader(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return w.random.Read(p)
	})
	service := &responder.Service{Descriptor: kcm.Descriptor(), Conf: w.conf, Log: log.Discard(), Signal: func(string, ...any) {}}
	sessions := func() (kcm.Sessions, error) { return nil, errors.ErrUnsupported }
	handler, err := kcm.New(stores, renew, nil, sessions, time.Now, random)(service)
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
			server.Converse(context.Background(), pipe{far}, responder.Peer{UID: uid, GID: uid}, log.Discard())
		})
		return near, nil
	}
}

// pipe is a connection that does not tell when it was active.
type pipe struct{ net.Conn }

func (pipe) Active() time.Duration { return 0 }
func (pipe) Touch()                {}

func (w *world) play(s step) {
	switch s.move {
	case ask:
		w.ask(s.client, s.request)
	case decide:
		w.disk.decide(int(s.bits%clients), s.verdict)
	case pass:
		if w.idle() { // a server may give up what waits for long, and do it later
			time.Sleep(s.pass)
		}
	case crash:
		w.crash(s.bits)
	case failLoad:
		w.disk.mu.Lock()
		w.disk.failLoad = s.request.uid
		w.disk.mu.Unlock()
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
	r.end += time.Now().Unix()
	w.clock++
	call, connection := w.clock, c.Client
	w.asked.Go(func() {
		a := send(connection, r)
		a.at = time.Now().Unix()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.returned = append(w.returned, porcupine.Operation{ClientId: which, Input: r, Call: call, Output: a})
		c.busy = false
	})
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
		fmt.Fprintf(&w.trace, "%d-%d client %d: %s %s %d: %s %s\n", o.Call, o.Return, o.ClientId, actionNames[r.action], r.cache, r.ticket, kindNames[a.kind], a.tickets)
	}
	w.returned = nil
}

// send sends a request and sorts what comes back.
func send(c *client.Client, r request) (a answer) {
	var err error
	switch r.action {
	case initialize:
		err = c.Initialize(r.cache, principal("user"))
	case store:
		err = c.Store(r.cache, ticket(r))
	case destroy:
		_, err = c.Call(protocol.OpDestroy, protocol.AppendName(nil, r.cache))
	case list:
		var all []protocol.Credential
		if all, err = c.Credentials(r.cache); err == nil {
			for _, credential := range all {
				a.tickets += string(credential.Ticket) + ","
			}
		}
	}
	var refusal *client.Error
	switch {
	case err == nil:
		return a
	case !errors.As(err, &refusal):
		return answer{kind: unknown}
	}
	switch refusal.Code {
	case protocol.NoFile, protocol.NotFound:
		return answer{kind: missing}
	case protocol.DiskFull:
		return answer{kind: refused}
	}
	return answer{kind: unknown}
}

func principal(names ...string) protocol.Principal {
	p := protocol.Principal{Type: 1, Realm: []byte(realm)}
	for _, name := range names {
		p.Components = append(p.Components, []byte(name))
	}
	return p
}

// life is how long a ticket-granting ticket lasts before it must be renewed.
const life = 2 * time.Hour

func ticket(r request) protocol.Credential {
	c := protocol.Credential{
		Client: principal("user"), Server: principal("host", fmt.Sprint("h", r.ticket)),
		Key: protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)}, Ticket: fmt.Append(nil, r.ticket),
		Times: protocol.Times{Auth: uint32(r.end) - uint32(life/time.Second), End: uint32(r.end)},
	}
	c.Times.Start = c.Times.Auth
	if r.tgt {
		const renewable = 0x00800000 // RFC 4120 section 2.3
		c.Server, c.TicketFlags, c.Times.RenewTill = principal("krbtgt", realm), renewable, c.Times.End+24*3600
	}
	return c
}

// renew is the KDC. Now and then it does not answer.
func renew(_ context.Context, tgt protocol.Credential, _ time.Duration) (protocol.Credential, error) {
	number, err := strconv.Atoi(string(tgt.Ticket))
	now := time.Now()
	if err != nil || (number+now.Minute())%4 == 0 {
		return protocol.Credential{}, errors.New("no KDC answers")
	}
	tgt.Ticket = fmt.Append(nil, number+renewals)
	tgt.Times.Start, tgt.Times.End = uint32(now.Unix()), min(uint32(now.Add(life).Unix()), tgt.Times.RenewTill)
	return tgt, nil
}

// crash cuts the power, and starts a process again. Each bit says whether the
// disk has a change that waited.
func (w *world) crash(bits uint64) {
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
	err := w.disk.crash(func() bool {
		kept := bits&1 == 1
		bits >>= 1
		return kept
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.asked.Wait()
	w.served.Wait()
	if err := w.server.Close(); err != nil {
		w.t.Error(err)
	}
}

// end lets everything be answered, starts once more, and has each user look.
func (w *world) end() {
	w.settle()
	w.crash(0)
	w.rest()
	for i := range users {
		uid := firstID + uint32(i)
		for _, name := range []string{"a", "b"} {
			w.ask(i, request{uid: uid, action: list, cache: fmt.Sprintf("%d:%s", uid, name)})
			w.settle()
		}
	}
	w.stop(0)
	if err := w.disk.medium.close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) settle() {
	w.rest()
	for w.disk.decide(0, made) {
		w.rest()
	}
}
