package responder

import (
	"errors"
	"sync"
	"time"
)

// ErrBudget says that a client's request or reply found no memory in time, or
// lost it to a user who had less.
var ErrBudget = errors.New("the memory for requests and replies is used up")

// Budget bounds the memory of the requests and replies that are on their way,
// of all users together and of each. Who finds none left waits. Where all of
// it is used, the user who has most loses a connection to one who has less, so
// that no number of connections keeps others from being served.
type Budget struct {
	total, share int64 // bytes, for all users and for one

	mu       sync.Mutex
	used     int64
	peak     int64 // most that was used since Peak was asked
	accounts map[uint32]*account
	waiting  []*Holding // in the order of their coming
}

// account is what one user has of a budget.
type account struct {
	uid      uint32
	clients  int // open holdings; the account is dropped with the last
	used     int64
	old, new *Holding // those that hold something, by age; linked by newer and older
}

// Holding is what one connection has of a budget. Its methods are called by
// one goroutine; those of a nil Holding find no bounds.
type Holding struct {
	budget       *Budget
	account      *account
	drop         func()
	held         int64
	newer, older *Holding
	dropped      bool

	want    int64         // while it waits
	granted chan struct{} // has a value when the wait is over
}

// NewBudget returns a budget of total bytes, of which no user gets more than
// share.
func NewBudget(total, share int64) *Budget {
	return &Budget{total: total, share: share, accounts: map[uint32]*account{}}
}

// Open returns the holding of one connection of a user. drop is called, once at
// most, to end a connection whose memory is taken from it. The holding must be
// closed.
func (b *Budget) Open(uid uint32, drop func()) *Holding {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[uid]
	if a == nil {
		a = &account{uid: uid}
		b.accounts[uid] = a
	}
	a.clients++
	return &Holding{budget: b, account: a, drop: drop}
}

// Peak returns the most bytes that were used at a time since it was last
// asked.
func (b *Budget) Peak() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	peak := b.peak
	b.peak = b.used
	return peak
}

// Take waits until n bytes are free and takes them. What exceeds a user's
// share counts as all of it. A holding takes once before it is freed again: one
// that waited with something in hand could wait for itself. It returns
// ErrBudget after patience.
func (h *Holding) Take(n int64, patience time.Duration) error {
	if h == nil {
		return nil
	}
	b := h.budget
	b.mu.Lock()
	h.want = min(n, b.share)
	taken, victims := b.admit(h)
	if !taken {
		if h.granted == nil {
			h.granted = make(chan struct{}, 1)
		}
		b.waiting = append(b.waiting, h)
	}
	b.mu.Unlock()
	dropAll(victims)
	if taken {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-h.granted:
		return nil
	case <-timer.C:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.withdraw(h) {
		return ErrBudget
	}
	<-h.granted // in the meantime
	return nil
}

// Free gives back what was taken, if anything was.
func (h *Holding) Free() {
	if h == nil {
		return
	}
	b := h.budget
	b.mu.Lock()
	if h.held == 0 {
		b.mu.Unlock()
		return
	}
	b.release(h)
	victims := b.serveWaiting()
	b.mu.Unlock()
	dropAll(victims)
}

// Dropped reports whether the connection was ended to make room for others.
func (h *Holding) Dropped() bool {
	if h == nil {
		return false
	}
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	return h.dropped
}

// Close frees the holding and ends its use.
func (h *Holding) Close() {
	h.Free()
	b := h.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.account.clients--; h.account.clients == 0 {
		delete(b.accounts, h.account.uid)
	}
}

// admit gives h what it wants, if that is possible by dropping the holdings of
// greedier users, which it returns. The caller holds mu.
func (b *Budget) admit(h *Holding) (taken bool, victims []*Holding) {
	a := h.account
	if a.used+h.want > b.share {
		return false, nil
	}
	for b.used+h.want > b.total {
		greediest := b.greediest()
		if greediest == nil || greediest.used <= a.used+h.want {
			return false, victims
		}
		victim := greediest.old
		b.release(victim)
		victim.dropped = true
		victims = append(victims, victim)
	}
	h.held = h.want
	a.used += h.held
	b.used += h.held
	b.peak = max(b.peak, b.used)
	a.link(h)
	return true, victims
}

// release takes back what h holds. The caller holds mu.
func (b *Budget) release(h *Holding) {
	h.account.unlink(h)
	h.account.used -= h.held
	b.used -= h.held
	h.held = 0
}

func (b *Budget) greediest() (most *account) {
	for _, a := range b.accounts {
		if a.used > 0 && (most == nil || a.used > most.used) {
			most = a
		}
	}
	return most
}

// serveWaiting gives what has become free to those who wait and fit in, the
// first to come first. The caller holds mu.
func (b *Budget) serveWaiting() (victims []*Holding) {
	if len(b.waiting) == 0 {
		return nil
	}
	var still []*Holding
	for _, h := range b.waiting {
		taken, dropped := b.admit(h)
		victims = append(victims, dropped...)
		if taken {
			h.granted <- struct{}{}
		} else {
			still = append(still, h)
		}
	}
	b.waiting = still
	return victims
}

// withdraw ends the wait of h, and reports whether it still waited.
func (b *Budget) withdraw(h *Holding) bool {
	for i, w := range b.waiting {
		if w == h {
			b.waiting = append(b.waiting[:i:i], b.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (a *account) link(h *Holding) {
	h.older, h.newer = a.new, nil
	if a.new != nil {
		a.new.newer = h
	} else {
		a.old = h
	}
	a.new = h
}

func (a *account) unlink(h *Holding) {
	if h.older != nil {
		h.older.newer = h.newer
	} else {
		a.old = h.newer
	}
	if h.newer != nil {
		h.newer.older = h.older
	} else {
		a.new = h.older
	}
	h.older, h.newer = nil, nil
}

func dropAll(victims []*Holding) {
	for _, v := range victims {
		v.drop()
	}
}
