package vault

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"gosssd/secrets/vault/engine"
)

// memStore is another floor below the vault, in memory: what the vault asks of
// its store is no more than this.
type memStore struct {
	mu      sync.RWMutex
	salt    []byte
	buckets memState
}

type memState map[string]map[string][]byte

var (
	_ store  = (*memStore)(nil)
	_ writer = memState(nil)
)

func newMemStore() *memStore {
	m := &memStore{salt: make([]byte, 32), buckets: memState{}}
	rand.Read(m.salt)
	return m
}

func (m *memStore) View(fn func(reader) error) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return fn(m.buckets)
}

func (m *memStore) Update(_ bool, fn func(writer) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	draft := memState{}
	for name, records := range m.buckets {
		draft[name] = maps.Clone(records)
	}
	if err := fn(draft); err != nil {
		return err
	}
	m.buckets = draft
	return nil
}

func (m *memStore) Wipe() error  { return nil }
func (m *memStore) Salt() []byte { return m.salt }
func (m *memStore) Path() string { return "memory" }

func (m *memStore) Sizes() (engine.Sizes, error) { return engine.Sizes{}, nil }

func (m *memStore) Close() error   { return nil }
func (m *memStore) Abandon() error { return nil }

func (s memState) Get(bucket string, name []byte) []byte { return s[bucket][string(name)] }

func (s memState) Each(bucket string, group, from []byte, fn func(name, value []byte) error) error {
	for _, name := range slices.Sorted(maps.Keys(s[bucket])) {
		if bytes.HasPrefix([]byte(name), group) && name >= string(from) {
			if err := fn([]byte(name), s[bucket][name]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s memState) Groups(bucket string) [][]byte {
	groups := map[string]bool{}
	for name := range s[bucket] {
		groups[name[:engine.GroupLen]] = true
	}
	var sorted [][]byte
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		sorted = append(sorted, []byte(group))
	}
	return sorted
}

func (s memState) Buckets() []string { return slices.Sorted(maps.Keys(s)) }

func (s memState) Put(bucket string, name, value []byte) {
	if value == nil {
		delete(s[bucket], string(name))
		return
	}
	if s[bucket] == nil {
		s[bucket] = map[string][]byte{}
	}
	s[bucket][string(name)] = value
}

// TestTheVaultStandsOnAnyStore: it commits, reads, notices damage, repairs and
// rekeys on a store that knows no files.
func TestTheVaultStandsOnAnyStore(t *testing.T) {
	dir := t.TempDir()
	v := openTest(t, dir, unsynced())
	m := newMemStore()
	if err := v.file.store.Close(); err != nil {
		t.Fatal(err)
	}
	keys, err := v.keys.load()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Update(true, func(w writer) error { return format(w, m.salt, keys[0]) }); err != nil {
		t.Fatal(err)
	}
	v.file = newFile(m, nil)
	if err := v.file.unlock(keys, v.keys); err != nil {
		t.Fatal(err)
	}
	h := v.Hive("kcm")
	model := map[string]string{}
	for i := range 400 {
		key := fmt.Sprint("key ", i%150)
		model[key] = fmt.Sprint("value ", i)
		commit(t, h, 1, map[string][]byte{key: []byte(model[key])})
		commit(t, h, uint32(2+i%5), map[string][]byte{"x": []byte("y")})
	}
	if err := v.Rekey(ctx); err != nil {
		t.Fatal(err)
	}
	want(t, h, 1, model)
	if owners, err := h.Owners(ctx); err != nil || len(owners) != 6 {
		t.Errorf("owners %v, %v", owners, err)
	}
	bucket := m.buckets[hiveBucket("kcm")]
	for name := range bucket {
		if bytes.HasPrefix([]byte(name), ownerName(1)) && len(name) > engine.GroupLen {
			delete(bucket, name)
			break
		}
	}
	if _, err := h.Get(ctx, 1, "no such key"); !errors.Is(err, ErrDamaged) {
		t.Errorf("a missing record: %v", err)
	}
	if kept, deleted, err := h.Repair(ctx, 1); err != nil || kept != 149 || deleted != 0 {
		t.Errorf("repair keeps %d, deletes %d, %v", kept, deleted, err)
	}
}
