package kcm

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"gosssd/kcm/sysbus"
	"gosssd/responder/log"
	"gosssd/responder/metric"
)

// users holds the collection of every user that was asked for, and the store
// behind them. The collection of an idle user is not loaded.
type users struct {
	storage string // the word of ccache_storage
	log     *log.Logger
	signal  func(member string, values ...any)
	learn   func(uid uint32, s *state)                              // told what is loaded and what is published; nil: nobody
	desktop *sysbus.Bus                                             // nil: nobody is shown anything on the system bus
	show    func(uid uint32, c *cache, isDefault bool) sysbus.Cache // for desktop
	census  census
	chowned chowned
	loads   metric.Durations // that went well, as the next
	commits metric.Durations

	failedLoads   atomic.Uint64
	failedCommits atomic.Uint64

	purgedCaches      atomic.Uint64
	purgedCredentials atomic.Uint64

	resident atomic.Int64  // weight of all that is published
	crowded  chan struct{} // has a value when that is more than residentLimit
	reading  chan struct{} // has a value for each load under way

	surveyed atomic.Bool // collections has every owner the store knows

	mu          sync.RWMutex
	collections map[uint32]*collection

	opening sync.Mutex
	open    func(storage string) (Store, error)
	opened  Store // nil until it was needed
}

func newUsers(storage string, open func(string) (Store, error), logger *log.Logger, signal func(string, ...any)) *users {
	return &users{
		storage: storage, open: open, log: logger, signal: signal,
		collections: map[uint32]*collection{},
		census:      census{caches: map[uint32]int{}, unread: map[uint32]bool{}},
		chowned:     chowned{owner: map[string]uint32{}},
		reading:     make(chan struct{}, loadsAtOnce),
		crowded:     make(chan struct{}, 1),
	}
}

// of returns the collection of one user.
func (u *users) of(uid uint32) *collection {
	u.mu.RLock()
	c := u.collections[uid]
	u.mu.RUnlock()
	if c != nil {
		return c
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if c = u.collections[uid]; c == nil {
		c = &collection{uid: uid, users: u, mu: newTurn()}
		u.collections[uid] = c
	}
	return c
}

// all returns every collection that is known, loaded or not.
func (u *users) all() []*collection {
	u.mu.RLock()
	defer u.mu.RUnlock()
	list := make([]*collection, 0, len(u.collections))
	for _, c := range u.collections {
		list = append(list, c)
	}
	return list
}

// everyone returns the collections of all users, those included that only the
// store knows. It asks the store once: nobody else adds owners.
func (u *users) everyone(ctx context.Context) ([]*collection, error) {
	if u.surveyed.Load() {
		return u.all(), nil
	}
	store, err := u.store()
	if err != nil {
		return nil, &unreadable{err}
	}
	owners, err := store.Owners(ctx)
	if err != nil {
		return nil, &unreadable{err}
	}
	for _, uid := range owners {
		u.of(uid)
	}
	u.surveyed.Store(true)
	return u.all(), nil
}

// What is loaded is not known to be small until it is there, so only some are
// loaded at a time; the wait for that counts as time of the load.
const (
	loadsAtOnce = 4
	loadTimeout = 30 * time.Second
)

// read loads the records of a user from the store.
func (u *users) read(ctx context.Context, uid uint32) (*state, []damage, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	select {
	case u.reading <- struct{}{}:
		defer func() { <-u.reading }()
	case <-ctx.Done():
		return nil, nil, fmt.Errorf("caches of uid %d: no turn to load them: %w", uid, ctx.Err())
	}
	store, err := u.store()
	if err != nil {
		return nil, nil, err
	}
	records, began := newLoader(), time.Now()
	err = store.Load(ctx, uid, records.add)
	u.logLoad(uid, records, began, err)
	if err != nil {
		u.failedLoads.Add(1)
		return nil, nil, fmt.Errorf("caches of uid %d: %w", uid, err)
	}
	u.loads.Add(time.Since(began))
	s, damaged := records.finish()
	return s, damaged, nil
}

// volatile reports whether what is in the store is in this process's memory
// only. A store that cannot be opened has nothing to lose.
func (u *users) volatile() bool {
	store, err := u.store()
	return err == nil && store.Volatile()
}

// store returns the store and opens it first where that is still to be done.
func (u *users) store() (Store, error) {
	u.opening.Lock()
	defer u.opening.Unlock()
	if u.opened == nil {
		store, err := u.open(u.storage)
		if err != nil {
			return nil, err
		}
		u.opened = store
	}
	return u.opened, nil
}

func (u *users) close() error {
	u.opening.Lock()
	defer u.opening.Unlock()
	if u.opened == nil {
		return nil
	}
	return u.opened.Close()
}
