package kcm

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gosssd/confdb"
	"gosssd/kcm/logins"
	"gosssd/kcm/protocol"
	"gosssd/kcm/renewal"
	"gosssd/responder"
	"gosssd/responder/log"
)

// rig is a server with a clock, a store and a bus that the test holds.
type rig struct {
	t       testing.TB
	server  *Server
	store   *fakeStore
	clock   atomic.Int64
	stepped atomic.Int64              // seconds by which clock, the wall clock, was set forward
	earlier atomic.Pointer[fakeStore] // the storage before; nil if there is none
	sssd    atomic.Pointer[[]byte]    // the database of SSSD's own sssd_kcm; nil if there is none
	kdc     renewal.KDC               // asked for tickets anew
	tickets Tickets                   // asked for tickets of services
	logins  *fakeSessions             // nil: there are none to be seen
	logged  *buffer
	signals *buffer
	random  *randomness

	mask log.Level // of the log of clients from now on
}

const startOfTime = 1_800_000_000 // the rig's clock at first

type conf map[string]string

func newRig(t testing.TB, set conf) *rig {
	t.Helper()
	r := &rig{t: t, store: &fakeStore{Memory: NewMemory(), volatile: set["ccache_storage"] == StorageMemory}, logged: &buffer{}, signals: &buffer{written: make(chan struct{}, 1)}}
	r.mask = log.Mask(2)
	r.random = &randomness{source: rand.NewChaCha8([32]byte{1})}
	r.clock.Store(startOfTime)
	r.start(set)
	return r
}

// start begins a server on the rig's store, as after a restart.
func (r *rig) start(set conf) {
	r.t.Helper()
	service := &responder.Service{
		Descriptor: Descriptor(), Conf: snapshot(r.t, set), Log: log.To(r.logged, log.Mask(0x0070)),
		Signal: func(member string, values ...any) {
			r.signals.line(member, values...)
		},
	}
	open := func(string) (Store, error) { return r.store, r.store.fail("open") }
	now := func() time.Time { return time.Unix(r.clock.Load(), 0) }
	monotonic := func() time.Duration { return time.Duration(r.clock.Load()-r.stepped.Load()) * time.Second }
	stores := Stores{Open: open, OpenExisting: r.openExisting, SSSD: r.openSSSD, Group: func(uint32) uint32 { return 7 }}
	sessions := func() (Sessions, error) {
		if r.logins == nil {
			return nil, logins.ErrNone
		}
		return r.logins.open(), nil
	}
	server := newServer(service, stores, r.kdc, r.tickets, sessions, now, monotonic, r.random)
	server.clock.confirm()
	r.server = server
	r.t.Cleanup(func() {
		if err := server.Close(); err != nil {
			r.t.Error(err)
		}
	})
}

// openExisting opens the storage before.
func (r *rig) openExisting(string) (Store, error) {
	if earlier := r.earlier.Load(); earlier != nil {
		return earlier, nil
	}
	return nil, fs.ErrNotExist
}

// openSSSD reads the database of SSSD's own sssd_kcm.
func (r *rig) openSSSD() ([]byte, error) {
	if file := r.sssd.Load(); file != nil {
		return *file, nil
	}
	return nil, fs.ErrNotExist
}

func snapshot(t testing.TB, set conf) *confdb.Snapshot {
	t.Helper()
	snapshot, err := confdb.NewSnapshot(confdb.Schema(Descriptor().Sections), map[string]map[string]string{section: set})
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func (r *rig) pass(d time.Duration) { r.clock.Add(int64(d / time.Second)) }

// step sets the wall clock forward, or back.
func (r *rig) step(d time.Duration) {
	r.stepped.Add(int64(d / time.Second))
	r.pass(d)
}

// confirm makes the clock what it is some time after a start.
func (c *clock) confirm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh = false
}

// fakeStore is a Memory that fails and blocks on demand.
type fakeStore struct {
	*Memory
	mu      sync.Mutex
	failing map[string]error // by operation; "lost commit" writes and fails
	gate    chan struct{}    // if set, Commit waits until it is closed
	commits []int            // number of records of each commit
	entered atomic.Int64     // commits that have begun
	veto    func() error     // if set, asked before a commit
	largest int              // if set, how many bytes a commit may have

	volatile   bool
	unreadable uint32 // the user whose records cannot be read
}

func (f *fakeStore) Volatile() bool { return f.volatile }

func (f *fakeStore) fail(operation string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failing[operation]
}

func (f *fakeStore) set(operation string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing = map[string]error{operation: err}
}

func (f *fakeStore) block() (release func()) {
	gate := make(chan struct{})
	f.mu.Lock()
	f.gate = gate
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		f.gate = nil
		f.mu.Unlock()
		close(gate)
	}
}

func (f *fakeStore) Load(ctx context.Context, uid uint32, each func(string, []byte) error) error {
	if err := f.fail("load"); err != nil {
		return err
	}
	if uid == f.unreadable && uid != 0 {
		return errDisk
	}
	return f.Memory.Load(ctx, uid, each)
}

func (f *fakeStore) Owners(ctx context.Context) ([]uint32, error) {
	if err := f.fail("owners"); err != nil {
		return nil, err
	}
	return f.Memory.Owners(ctx)
}

func (f *fakeStore) Commit(ctx context.Context, uid uint32, changes map[string][]byte) error {
	f.mu.Lock()
	gate := f.gate
	f.commits = append(f.commits, len(changes))
	f.mu.Unlock()
	f.entered.Add(1)
	if gate != nil {
		<-gate
	}
	if err := f.fail("commit"); err != nil {
		return err
	}
	if total := sizeOf(changes); f.largest > 0 && total > f.largest {
		return quotaError{}
	}
	if f.veto != nil {
		if err := f.veto(); err != nil {
			return err
		}
	}
	if err := f.Memory.Commit(ctx, uid, changes); err != nil {
		return err
	}
	return f.fail("lost commit")
}

func sizeOf(records map[string][]byte) (total int) {
	for _, value := range records {
		total += len(value)
	}
	return total
}

// Close leaves the records for the next server on the store.
func (f *fakeStore) Close() error { return nil }

// records returns what the store holds of one user.
func (f *fakeStore) records(uid uint32) map[string][]byte {
	records := map[string][]byte{}
	_ = f.Memory.Load(context.Background(), uid, func(key string, value []byte) error {
		records[key] = value
		return nil
	})
	return records
}

// decodeState reads all records of a user.
func decodeState(records map[string][]byte) (*state, []damage) {
	l := newLoader()
	for key, record := range records {
		_ = l.add(key, record)
	}
	return l.finish()
}

// checkStore sees to it that the store holds what is published for a user,
// and nothing else.
func (r *rig) checkStore(uid uint32) {
	r.t.Helper()
	records := r.store.records(uid)
	stored, damaged := decodeState(records)
	published := r.server.users.of(uid).published.Load()
	if len(damaged) > 0 || published == nil {
		r.t.Fatalf("damaged records %v, published %v", damaged, published)
	}
	expected := map[string]bool{}
	if published.preferred != (protocol.UUID{}) {
		expected[defaultKey] = true
	}
	for i, c := range published.caches {
		expected[headerKey(c.id)] = true
		for _, e := range c.entries {
			expected[credentialKey(c.id, e.seq)] = true
		}
		if i >= len(stored.caches) {
			r.t.Fatalf("%d caches are stored, %d published", len(stored.caches), len(published.caches))
		}
		if s := stored.caches[i]; s.name != c.name || s.size != c.size || s.extra != c.extra || len(s.entries) != len(c.entries) || s.offset != c.offset || s.mode != c.mode || s.gid != c.gid {
			r.t.Fatalf("cache %d is stored as %+v, published as %+v", i, s, c)
		}
	}
	equal(r.t, "keys of records", sortedKeys(records), sortedKeys(expected))
}

// quotaError is a refusal in the way of a store.
type quotaError struct{}

func (quotaError) Error() string { return "the store is full" }
func (quotaError) Quota() bool   { return true }

var errDisk = errors.New("the disk is gone")

// randomness makes a source usable by many goroutines.
type randomness struct {
	mu     sync.Mutex
	source io.Reader
}

func (r *randomness) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.Read(p)
}
