package vault

import "gosssd/secrets/vault/engine"

// store is the floor below: it keeps named bytes on disk, and knows nothing of
// owners, keys and sums. gosssd/secrets/vault/engine is the one there is; its
// documentation says what is asked of each method.
type store interface {
	View(fn func(reader) error) error
	Update(alone bool, fn func(writer) error) error
	Wipe() error
	Salt() []byte
	Path() string
	Sizes() (engine.Sizes, error)
	Close() error
	Abandon() error
}

// reader is a state of the store. A group is the names of a bucket that begin
// with the same four bytes, which here are an owner's uid.
type reader interface {
	Get(bucket string, name []byte) []byte
	Each(bucket string, group, from []byte, fn func(name, value []byte) error) error
	Groups(bucket string) [][]byte
	Buckets() []string
}

// writer is a state that is being changed.
type writer interface {
	reader
	Put(bucket string, name, value []byte)
}

var (
	_ reader = (*engine.View)(nil)
	_ writer = (*engine.Draft)(nil)
	_ store  = onDisk{}
)

// onDisk is the engine as a store.
type onDisk struct{ *engine.Engine }

func (d onDisk) View(fn func(reader) error) error {
	return d.Engine.View(func(v *engine.View) error { return fn(v) })
}

func (d onDisk) Update(alone bool, fn func(writer) error) error {
	return d.Engine.Update(alone, func(w *engine.Draft) error { return fn(w) })
}
