// Package renewal keeps ticket-granting tickets fresh: it knows when which is
// due, asks a KDC for it anew, and hands the new one to who keeps it. It holds
// times and places, and never tickets.
//
// A ticket is due after half of its life. A KDC that does not answer is asked
// again after a time that doubles, by one request for the whole realm. A
// ticket that is refused is asked for again after a time that doubles as well,
// or not at all where that is of no use.
package renewal

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"gosssd/kcm/protocol"
)

// Keeper keeps the tickets.
type Keeper interface {
	// TGT returns a ticket as it is kept, and how far the KDC's clock is ahead.
	// ErrGone says that it is not there any more, or is another one.
	TGT(ctx context.Context, t Ticket) (tgt protocol.Credential, offset time.Duration, err error)
	// Replace puts fresh in the place of old, in one step. ErrGone says that
	// old is not there any more, since its owner was faster, and nothing was
	// done. The keeper tells Learn of the new one.
	Replace(ctx context.Context, t Ticket, old, fresh protocol.Credential) error
}

// ErrGone says that a ticket is not where it was.
var ErrGone = errors.New("the ticket is not there any more")

// errLapsed is why a ticket is not renewed that has come to its end.
var errLapsed = errors.New("the ticket expired before it could be renewed")

// KDC asks for a ticket anew. An error with a method KDCCode() int32 is the
// KDC's refusal. One with a method Outage() bool that returns true says that no
// KDC answered, which others of the realm will meet as well. Any other error
// is of this ticket alone.
type KDC func(ctx context.Context, tgt protocol.Credential, offset time.Duration) (protocol.Credential, error)

// Options say how often, and how much at a time.
type Options struct {
	Interval time.Duration // the longest time until a failed renewal is tried again
	Timeout  time.Duration // of one renewal
	InFlight int           // renewals at a time; 0: 16
}

// Log takes what a user or an administrator can act on.
type Log interface {
	Renewed(t Ticket, fresh protocol.Credential)
	// Failed is told the first of several failures with the same reason. next
	// is zero if it is not tried again.
	Failed(t Ticket, err error, next time.Time)
}

// The first pause after a failure, and the longest of those after a KDC did
// not answer. That after a refusal is bounded by Options.Interval alone.
const (
	firstOutage   = 5 * time.Second
	longestOutage = 5 * time.Minute
	firstRefusal  = 30 * time.Second
	inFlight      = 16
)

// final are the codes of RFC 4120 §7.5.9 after which asking again does not
// help, but only a new login.
var final = map[int32]bool{
	6:  true, // the principal does not exist any more
	7:  true, // nor the ticket-granting service
	13: true, // the KDC does not renew this ticket
	18: true, // the principal is locked
	20: true, // the ticket was revoked
	31: true, // the KDC has another key now
	32: true, // the ticket has expired
	44: true, // the KDC has another version of its key now
}

// Renewer renews tickets. Its methods may be called by many goroutines at once.
type Renewer struct {
	keeper Keeper
	kdc    KDC
	log    Log

	mu       sync.Mutex
	options  Options
	schedule *schedule
	clock    clock
	counts   Counts
	changed  chan struct{} // has a value after the schedule has changed
}

// Counts are totals since the start.
type Counts struct {
	Renewed    uint64
	Refused    uint64 // by a KDC
	Unanswered uint64 // by any KDC
	Overtaken  uint64 // by the owner, who changed the cache meanwhile
	Failed     uint64 // for other reasons: the answer was of no use, or could not be kept
}

// Summary is how the renewal of all tickets goes.
type Summary struct {
	Counts
	Tickets int       // that are known
	Next    time.Time // when the next one is due; zero if none is
	// The realm that has not answered for longest, how often it was asked in
	// vain, and when it is asked again; "" if all answer.
	Realm  string
	Asked  int
	Resume time.Time
}

// New returns a Renewer without tickets.
func New(keeper Keeper, kdc KDC, log Log, options Options) *Renewer {
	return &Renewer{keeper: keeper, kdc: kdc, log: log, options: options, schedule: newSchedule(), changed: make(chan struct{}, 1)}
}

// Set changes the options for what is tried from now on.
func (r *Renewer) Set(options Options) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.options = options
}

// Learn tells all tickets that a user has now and that can be renewed.
func (r *Renewer) Learn(uid uint32, tickets []Ticket) {
	r.mu.Lock()
	r.schedule.learn(uid, tickets, r.now())
	r.mu.Unlock()
	r.wake()
}

func (r *Renewer) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// now returns the wall clock's time, and tells the schedule when that has been
// set back. The caller holds mu.
func (r *Renewer) now() time.Time {
	now, back := r.clock.read(time.Now())
	if back > 0 {
		r.schedule.setBack(back)
	}
	return now
}

// Next returns when the next ticket is due, which is now while one is being
// renewed; false if none is.
func (r *Renewer) Next() (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.schedule.busy() {
		return r.now(), true
	}
	next := r.schedule.next()
	return next, !next.IsZero()
}

// State returns what is known of the renewal of a ticket; false if it is not
// among those that can be renewed.
func (r *Renewer) State(uid uint32, cache protocol.UUID, credential uint64) (State, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	it := r.schedule.items[place{uid, cache, credential}]
	if it == nil {
		return State{}, false
	}
	return it.State, true
}

// Summary tells how it goes.
func (r *Renewer) Summary() Summary {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := Summary{Counts: r.counts, Tickets: len(r.schedule.items), Next: r.schedule.next()}
	for realm, out := range r.schedule.outages {
		if out.failures > sum.Asked || out.failures == sum.Asked && realm < sum.Realm {
			sum.Realm, sum.Asked, sum.Resume = realm, out.failures, out.until
		}
	}
	return sum
}

// Run renews until ctx ends, and returns when nothing is under way any more.
func (r *Renewer) Run(ctx context.Context) {
	var tries sync.WaitGroup
	defer tries.Wait()
	ended := make(chan struct{}, inFlight)
	running := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		for running < r.limit() {
			it, wait := r.take()
			if it == nil {
				timer.Reset(wait)
				break
			}
			running++
			tries.Go(func() {
				r.try(ctx, it)
				select {
				case ended <- struct{}{}:
				case <-ctx.Done():
				}
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-ended:
			running--
		case <-timer.C:
		case <-r.changed:
		}
	}
}

func (r *Renewer) limit() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.options.InFlight > 0 {
		return r.options.InFlight
	}
	return inFlight
}

func (r *Renewer) take() (*item, time.Duration) {
	r.mu.Lock()
	it, wait := r.schedule.take(r.now())
	lapsed := r.schedule.lapsed
	r.schedule.lapsed = nil
	r.mu.Unlock()
	for _, t := range lapsed {
		r.log.Failed(t, errLapsed, time.Time{})
	}
	return it, wait
}

// try renews one ticket and notes what became of it.
func (r *Renewer) try(ctx context.Context, it *item) {
	fresh, err := r.renew(ctx, it.Ticket)
	if ctx.Err() != nil {
		return // this process ends; the next one begins anew
	}
	r.mu.Lock()
	now := r.now()
	r.schedule.tried(it)
	news := r.note(it, err, now)
	next, known := it.Next, r.schedule.items[it.place()] == it
	r.mu.Unlock()
	switch {
	case err == nil:
		r.log.Renewed(it.Ticket, fresh)
	case known && news:
		r.log.Failed(it.Ticket, err, next)
	}
}

// unasked wraps an error of the keeper before any KDC was asked.
type unasked struct{ error }

func (e unasked) Unwrap() error { return e.error }

func (r *Renewer) renew(ctx context.Context, t Ticket) (protocol.Credential, error) {
	r.mu.Lock()
	timeout := r.options.Timeout
	r.mu.Unlock()
	tgt, offset, err := r.keeper.TGT(ctx, t)
	if err != nil {
		return protocol.Credential{}, unasked{err}
	}
	asking, cancel := context.WithTimeout(ctx, timeout)
	fresh, err := r.kdc(asking, tgt, offset)
	cancel()
	if err != nil {
		return protocol.Credential{}, err
	}
	return fresh, r.keeper.Replace(ctx, t, tgt, fresh)
}

// note plans what follows a try, and reports whether its failure is news. The
// caller holds mu. A ticket that was renewed has been learnt anew already.
func (r *Renewer) note(it *item, err error, now time.Time) (news bool) {
	var refusal interface{ KDCCode() int32 }
	var outage interface{ Outage() bool }
	var before unasked
	away := errors.As(err, &outage) && outage.Outage()
	switch {
	case away:
	case errors.As(err, &before):
		r.schedule.unprobed(it)
	default:
		r.schedule.answered(it.Realm, now)
	}
	var again time.Time
	var code int32
	switch {
	case err == nil:
		r.counts.Renewed++
		return false
	case errors.Is(err, ErrGone):
		r.counts.Overtaken++
		// One with the same times has taken its place, if it is still known.
		if r.schedule.items[it.place()] == it {
			r.schedule.put(it, now.Add(r.pause(it)))
		}
		return false
	case away:
		r.counts.Unanswered++
		// Behind those that wait for the realm: if this ticket alone gets no
		// answer, another one finds out.
		pause := r.schedule.unanswered(it, now, r.options.Interval)
		again = now.Add(pause + time.Duration(float64(pause)*jitter*(1+rand.Float64())))
	case errors.As(err, &refusal):
		r.counts.Refused++
		code = refusal.KDCCode()
		again = now.Add(r.pause(it))
	default:
		r.counts.Failed++
		again = now.Add(r.pause(it))
	}
	news = err.Error() != it.Result
	it.Last, it.Result, it.Code, it.Next = now, err.Error(), code, time.Time{}
	if r.schedule.items[it.place()] == it && !final[code] {
		r.schedule.put(it, again)
	}
	return news
}

// pause is the time until a ticket is tried again after failures of its own.
func (r *Renewer) pause(it *item) time.Duration {
	it.failures++
	return spread(min(firstRefusal<<min(it.failures-1, 16), r.options.Interval))
}

// spread is a tenth longer or shorter than d.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + jitter*(2*rand.Float64()-1)))
}
