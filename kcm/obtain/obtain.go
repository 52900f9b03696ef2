// Package obtain decides when KDCs are asked for the tickets that clients want:
// once for all who want the same one at the same time, not again for what was
// just refused, and not in a realm whose KDCs were just silent. It keeps no
// ticket longer than somebody waits for it.
package obtain

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"sync"
	"time"
)

// Key stands for one ticket of one cache, and all that its exchange depends on.
type Key [sha256.Size]byte

// KeyOf makes a key of what an exchange depends on.
func KeyOf(parts ...[]byte) Key {
	h := sha256.New()
	for _, part := range parts {
		n := len(part)
		h.Write([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
		h.Write(part)
	}
	return Key(h.Sum(nil))
}

// Options bound what KDCs, and clients that wait, have to bear. All must be set.
type Options struct {
	Timeout  time.Duration // of one exchange
	Refused  time.Duration // how long a KDC's refusal is remembered
	Away     time.Duration // how long a realm is left alone that did not answer
	InFlight int           // exchanges at a time
	OfOne    int           // of one user
}

// maxRemembered bounds the errors that are remembered, of tickets and of realms
// each: users choose both.
const maxRemembered = 4096

// Group runs exchanges that yield a T. Its methods may be called by many
// goroutines at once.
type Group[T any] struct {
	options Options
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	slots   chan struct{}

	mu       sync.Mutex
	flights  map[Key]*flight[T]
	ofUser   map[uint32]int
	refusals map[Key]memory
	away     map[string]memory // by realm
}

// flight is an exchange under way.
type flight[T any] struct {
	done   chan struct{} // closed when the others are set
	result T
	err    error
}

// memory is an error that holds for some time.
type memory struct {
	err   error
	until time.Time
}

// ErrBusy says that a user has as many exchanges under way as one may.
var ErrBusy = errors.New("too many tickets are asked for at once")

// New returns a Group, which the caller closes.
func New[T any](options Options) *Group[T] {
	ctx, stop := context.WithCancel(context.Background())
	return &Group[T]{
		options: options, ctx: ctx, stop: stop, slots: make(chan struct{}, options.InFlight),
		flights: map[Key]*flight[T]{}, ofUser: map[uint32]int{}, refusals: map[Key]memory{}, away: map[string]memory{},
	}
}

// Close ends the exchanges under way and waits for their end.
func (g *Group[T]) Close() {
	g.stop()
	g.running.Wait()
}

// Do returns what get yields, which is called once for all who wait for this key.
// It does not end with the context of one of them. An error of get with a method
// KDCCode() int32 is a refusal. One with a method SilentRealm() string is an
// outage of that realm, which on the way to a service may be another than the
// one asked first. Both are returned again for some time without a call of get.
// first is true for the one on whose behalf get was called.
func (g *Group[T]) Do(ctx context.Context, uid uint32, key Key, realm string, get func(context.Context) (T, error)) (result T, first bool, err error) {
	f, first, err := g.join(uid, key, realm, get)
	if err != nil {
		return result, false, err
	}
	select {
	case <-f.done:
		return f.result, first, f.err
	case <-ctx.Done():
		return result, first, ctx.Err()
	}
}

// join returns the exchange for a key, and begins it if there is none.
func (g *Group[T]) join(uid uint32, key Key, realm string, get func(context.Context) (T, error)) (f *flight[T], first bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[key]; f != nil {
		return f, false, nil
	}
	if err := g.remembered(key, realm); err != nil {
		return nil, false, err
	}
	if g.ofUser[uid] >= g.options.OfOne {
		return nil, false, ErrBusy
	}
	f = &flight[T]{done: make(chan struct{})}
	g.flights[key] = f
	g.ofUser[uid]++
	g.running.Go(func() {
		f.result, f.err = g.run(get)
		g.landed(uid, key, realm, f.err)
		close(f.done)
	})
	return f, true, nil
}

// run makes one exchange, which includes the wait for its turn.
func (g *Group[T]) run(get func(context.Context) (T, error)) (result T, err error) {
	ctx, cancel := context.WithTimeout(g.ctx, g.options.Timeout)
	defer cancel()
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return result, ErrBusy
	}
	return get(ctx)
}

// landed takes an exchange out of those under way, and remembers its error.
func (g *Group[T]) landed(uid uint32, key Key, realm string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.flights, key)
	if g.ofUser[uid]--; g.ofUser[uid] == 0 {
		delete(g.ofUser, uid)
	}
	var refused interface{ KDCCode() int32 }
	var silent interface{ SilentRealm() string }
	switch {
	case g.ctx.Err() != nil: // the exchange was ended from here
	case errors.As(err, &refused):
		remember(g.refusals, key, memory{err, time.Now().Add(g.options.Refused)})
	case errors.As(err, &silent) && silent.SilentRealm() == realm:
		remember(g.away, realm, memory{err, time.Now().Add(g.options.Away)})
	case errors.As(err, &silent) && silent.SilentRealm() != "":
		remember(g.refusals, key, memory{err, time.Now().Add(g.options.Away)})
	}
}

// remembered returns the error that an exchange would meet again, or nil.
func (g *Group[T]) remembered(key Key, realm string) error {
	now := time.Now()
	if m, isAway := g.away[realm]; isAway {
		if now.Before(m.until) {
			return m.err
		}
		delete(g.away, realm)
	}
	if m, isRefused := g.refusals[key]; isRefused {
		if now.Before(m.until) {
			return m.err
		}
		delete(g.refusals, key)
	}
	return nil
}

// remember keeps an error. It forgets those that are over where there are many;
// all, if too many are not.
func remember[K comparable](memories map[K]memory, key K, m memory) {
	if len(memories) >= maxRemembered {
		now := time.Now()
		maps.DeleteFunc(memories, func(_ K, m memory) bool { return !now.Before(m.until) })
	}
	if len(memories) >= maxRemembered {
		clear(memories)
	}
	memories[key] = m
}
