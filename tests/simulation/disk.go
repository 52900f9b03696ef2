package simulation

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"syscall"

	"gosssd/kcm"
)

// verdict is what the schedule has the disk do with a change.
type verdict int

const (
	made          verdict = iota
	full                  // refused: no room
	failedAndMade         // an error, and the change is there
	failedAndWas          // an error, and the change is not there
	verdicts              // how many there are
)

var (
	errDisk = syscall.EIO
	errDead = errors.New("the process was killed")
)

// fullError is refused for want of room, as kcm.Store has it.
type fullError struct{}

func (fullError) Error() string { return "no space left on device" }
func (fullError) Full() bool    { return true }

// pending is a change that waits for its verdict.
type pending struct {
	uid     uint32
	changes map[string][]byte
	verdict chan verdict
}

// medium is what changes are kept in.
type medium interface {
	open() error
	close() error
	owners() ([]uint32, error)
	load(uid uint32) (map[string][]byte, error)
	apply(uid uint32, changes map[string][]byte) error
	// crash leaves what is there after the process was killed and the power cut.
	crash() error
}

// keeper keeps the caches for the server's processes, which it outlives. A change
// waits there until the schedule decides what becomes of it.
type keeper interface {
	// store is what a process of the server has of it. dead tells when that was killed.
	store(dead func() bool) kcm.Store
	// decide ends the wait of a change, and reports whether there was one.
	decide(which int, v verdict) bool
	// failLoad has the next load of a user fail.
	failLoad(uid uint32)
	// spares reports whether a crash is not one of the server.
	spares(bits uint64) bool
	// crash ends processes, or cuts the power. The bits say which, and of each
	// change that waits whether it is made.
	crash(bits uint64) error
	close() error
}

// disk outlives the processes that write to it. A change waits on it until the
// schedule decides what becomes of it.
type disk struct {
	mu      sync.Mutex
	medium  medium
	waiting []*pending
	unlucky uint32 // whose next load fails; 0: nobody's
}

var _ keeper = (*disk)(nil)

func (d *disk) store(dead func() bool) kcm.Store { return process{d, dead} }
func (d *disk) spares(uint64) bool               { return false }
func (d *disk) close() error                     { return d.medium.close() }

func (d *disk) failLoad(uid uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unlucky = uid
}

func (d *disk) decide(which int, v verdict) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		return false
	}
	// Of each user one change waits at most.
	slices.SortFunc(d.waiting, func(a, b *pending) int { return int(a.uid) - int(b.uid) })
	i := which % len(d.waiting)
	p := d.waiting[i]
	d.waiting = slices.Delete(d.waiting, i, i+1)
	p.verdict <- v
	return true
}

// crash cuts the power: of each change that waits, the disk has all or nothing.
func (d *disk) crash(bits uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.SortFunc(d.waiting, func(a, b *pending) int { return int(a.uid) - int(b.uid) })
	for _, p := range d.waiting {
		kept := bits&1 == 1
		bits >>= 1
		if kept {
			if err := d.medium.apply(p.uid, p.changes); err != nil {
				return err
			}
		}
		close(p.verdict)
	}
	d.waiting = nil
	return d.medium.crash()
}

// process is a disk as one process has it open.
type process struct {
	disk *disk
	dead func() bool
}

var _ kcm.Store = process{}

func (p process) Owners(context.Context) ([]uint32, error) {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	return p.disk.medium.owners()
}

func (p process) Load(_ context.Context, uid uint32, each func(key string, value []byte) error) error {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	if p.dead() {
		return errDead
	}
	if p.disk.unlucky == uid {
		p.disk.unlucky = 0
		return errDisk
	}
	all, err := p.disk.medium.load(uid)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if err := each(key, bytes.Clone(all[key])); err != nil {
			return err
		}
	}
	return nil
}

func (p process) Commit(_ context.Context, uid uint32, changes map[string][]byte) error {
	own := &pending{uid, changes, make(chan verdict, 1)}
	p.disk.mu.Lock()
	if p.dead() {
		p.disk.mu.Unlock()
		return errDead
	}
	p.disk.waiting = append(p.disk.waiting, own)
	p.disk.mu.Unlock()
	v, alive := <-own.verdict
	if !alive {
		return errDead
	}
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	if v == made || v == failedAndMade {
		if err := p.disk.medium.apply(uid, changes); err != nil {
			return err
		}
	}
	switch v {
	case made:
		return nil
	case full:
		return fullError{}
	}
	return errDisk
}

func (p process) Volatile() bool { return false }
func (p process) Close() error   { return nil }
