package simulation

import (
	"bytes"
	"maps"
	"slices"
)

// fault is what is planted in a medium, or in what the server sees of login
// sessions, for the simulation to find.
type fault int

const (
	none        fault = iota
	missingSync       // a change is acknowledged before it is durable
	lostUpdate        // a change is acknowledged and not made, now and then
	staleRead         // what is loaded lacks the last change
	resurrected       // what was deleted is there again after a restart
	endless           // no session is seen to be over
	tooSoon           // a session that goes on is seen to be over
	unfenced          // a change that comes late is made although the records were loaded since
)

// stored is what is stored of each user.
type stored map[uint32]map[string][]byte

func (r stored) clone() stored {
	all := stored{}
	for uid, some := range r {
		all[uid] = maps.Clone(some)
	}
	return all
}

// memory is a medium that has a fault, or none.
type memory struct {
	planted fault
	now     stored
	durable stored // what is there after the power was cut
	before  stored // each user's, before the last change
	count   int
}

func newMemory(planted fault) *memory {
	return &memory{planted: planted, now: stored{}, durable: stored{}, before: stored{}}
}

func (m *memory) open() error  { return nil }
func (m *memory) close() error { return nil }

func (m *memory) owners() ([]uint32, error) {
	var owners []uint32
	for uid, all := range m.now {
		if len(all) > 0 {
			owners = append(owners, uid)
		}
	}
	slices.Sort(owners)
	return owners, nil
}

func (m *memory) load(uid uint32) (map[string][]byte, error) {
	if m.planted == staleRead && m.before[uid] != nil {
		return m.before[uid], nil
	}
	return m.now[uid], nil
}

func (m *memory) apply(uid uint32, changes map[string][]byte) error {
	m.count++
	if m.planted == lostUpdate && m.count%3 == 0 {
		return nil
	}
	if m.planted == missingSync {
		m.durable = m.now.clone() // what was written before
	}
	m.before[uid] = maps.Clone(m.now[uid])
	if m.now[uid] == nil {
		m.now[uid] = map[string][]byte{}
	}
	for key, value := range changes {
		switch {
		case value != nil:
			m.now[uid][key] = bytes.Clone(value)
		case m.planted != resurrected || m.count%2 == 0:
			delete(m.now[uid], key)
		}
	}
	if m.planted != missingSync {
		m.durable = m.now.clone()
	}
	return nil
}

func (m *memory) crash() error {
	m.now = m.durable.clone()
	return nil
}
