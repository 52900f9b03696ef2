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

// fault is what is planted in a disk, for the simulation to find.
type fault int

const (
	none        fault = iota
	missingSync       // a change is acknowledged before it is durable
	lostUpdate        // a change is acknowledged and not made, now and then
	staleRead         // what is loaded lacks the last change
	resurrected       // what was deleted is there again after a restart
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

// records are those of each user.
type records map[uint32]map[string][]byte

func (r records) clone() records {
	all := records{}
	for uid, some := range r {
		all[uid] = maps.Clone(some)
	}
	return all
}

// pending is a change that waits for its verdict.
type pending struct {
	uid     uint32
	changes map[string][]byte
	verdict chan verdict
}

// disk outlives the processes that write to it. A change waits on it until the
// schedule decides what becomes of it.
type disk struct {
	planted fault

	mu       sync.Mutex
	now      records
	durable  records // as it will be after the power was cut
	before   map[uint32]map[string][]byte
	waiting  []*pending
	failLoad bool
	count    int
}

func newDisk(planted fault) *disk {
	return &disk{planted: planted, now: records{}, durable: records{}, before: map[uint32]map[string][]byte{}}
}

// decide ends the wait of a change, and reports whether there was one.
func (d *disk) decide(which int, v verdict) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		return false
	}
	i := which % len(d.waiting)
	p := d.waiting[i]
	d.waiting = slices.Delete(d.waiting, i, i+1)
	p.verdict <- v
	return true
}

// apply makes a change. The caller holds mu.
func (d *disk) apply(uid uint32, changes map[string][]byte) {
	d.count++
	if d.planted == lostUpdate && d.count%3 == 0 {
		return
	}
	if d.planted == missingSync {
		d.durable = d.now.clone() // what was written before
	}
	d.before[uid] = maps.Clone(d.now[uid])
	if d.now[uid] == nil {
		d.now[uid] = map[string][]byte{}
	}
	for key, value := range changes {
		switch {
		case value != nil:
			d.now[uid][key] = bytes.Clone(value)
		case d.planted != resurrected || d.count%2 == 0:
			delete(d.now[uid], key)
		}
	}
	if d.planted != missingSync {
		d.durable = d.now.clone()
	}
}

// crash cuts the power: of each change that waits, the disk has all or nothing.
func (d *disk) crash(kept func() bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.waiting {
		if kept() {
			d.apply(p.uid, p.changes)
		}
		close(p.verdict)
	}
	d.waiting = nil
	d.now = d.durable.clone()
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
	var owners []uint32
	for uid, all := range p.disk.now {
		if len(all) > 0 {
			owners = append(owners, uid)
		}
	}
	slices.Sort(owners)
	return owners, nil
}

func (p process) Load(_ context.Context, uid uint32, each func(key string, value []byte) error) error {
	p.disk.mu.Lock()
	defer p.disk.mu.Unlock()
	if p.dead() {
		return errDead
	}
	if p.disk.failLoad {
		p.disk.failLoad = false
		return errDisk
	}
	all := p.disk.now[uid]
	if p.disk.planted == staleRead && p.disk.before[uid] != nil {
		all = p.disk.before[uid]
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
		p.disk.apply(uid, changes)
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
