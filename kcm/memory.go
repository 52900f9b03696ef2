package kcm

import (
	"context"
	"maps"
	"sync"
)

// Memory is a Store that forgets everything with the process.
type Memory struct {
	mu     sync.Mutex
	owners map[uint32]map[string][]byte
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{owners: map[uint32]map[string][]byte{}}
}

// Owners returns every owner that has records.
func (m *Memory) Owners(context.Context) ([]uint32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uids := make([]uint32, 0, len(m.owners))
	for uid := range m.owners {
		uids = append(uids, uid)
	}
	return uids, nil
}

// Load shows the records of one owner.
func (m *Memory) Load(_ context.Context, uid uint32, each func(key string, value []byte) error) error {
	m.mu.Lock()
	records := maps.Clone(m.owners[uid])
	m.mu.Unlock()
	for key, value := range records {
		if err := each(key, value); err != nil {
			return err
		}
	}
	return nil
}

// Volatile is true: nothing is kept elsewhere.
func (m *Memory) Volatile() bool { return true }

// Commit applies a change.
func (m *Memory) Commit(_ context.Context, uid uint32, changes map[string][]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	records := m.owners[uid]
	if records == nil {
		records = map[string][]byte{}
		m.owners[uid] = records
	}
	for key, value := range changes {
		if value == nil {
			delete(records, key)
		} else {
			records[key] = value
		}
	}
	if len(records) == 0 {
		delete(m.owners, uid)
	}
	return nil
}

// Close forgets everything.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.owners)
	return nil
}
