package engine

import (
	"bytes"
	"slices"

	"go.etcd.io/bbolt"
)

// View is the state of the last change. It is valid during the call it is
// given to, and so is every value it returns.
type View struct {
	tx      *bbolt.Tx
	buckets map[string]*bbolt.Bucket
	over    overlay // what the journal has and the database lacks
	own     changes // those of an update that is being made, on top
}

func newView(tx *bbolt.Tx, over overlay) *View {
	return &View{tx: tx, buckets: map[string]*bbolt.Bucket{}, over: over}
}

// bucket returns a bucket of the database, nil if there is none.
func (v *View) bucket(name string) *bbolt.Bucket {
	b, known := v.buckets[name]
	if !known {
		b = v.tx.Bucket([]byte(name))
		v.buckets[name] = b
	}
	return b
}

// Get returns a record, nil if there is none.
func (v *View) Get(bucket string, name []byte) []byte {
	g := groupOf(bucket, name)
	if value, changed := v.own[g][string(name)]; changed {
		return value
	}
	if now, changed := v.over[g][string(name)]; changed {
		return now.value
	}
	if b := v.bucket(bucket); b != nil {
		return b.Get(name)
	}
	return nil
}

// Each calls fn for the records of a group, in the order of their names, from
// the first whose name is not below from. An error of fn ends the walk and is
// returned.
func (v *View) Each(bucket string, prefix, from []byte, fn func(name, value []byte) error) error {
	g := group{bucket, string(prefix)}
	above := v.above(g, from)
	if b := v.bucket(bucket); b != nil {
		start := prefix
		if bytes.Compare(from, prefix) > 0 {
			start = from
		}
		cursor := b.Cursor()
		for name, value := cursor.Seek(start); bytes.HasPrefix(name, prefix); name, value = cursor.Next() {
			for len(above) > 0 && above[0] < string(name) {
				if err := v.visit(g, above[0], fn); err != nil {
					return err
				}
				above = above[1:]
			}
			if len(above) > 0 && above[0] == string(name) {
				continue // what is above it is visited next
			}
			if err := fn(name, value); err != nil {
				return err
			}
		}
	}
	for _, name := range above {
		if err := v.visit(g, name, fn); err != nil {
			return err
		}
	}
	return nil
}

// visit calls fn for a changed record, unless it was deleted.
func (v *View) visit(g group, name string, fn func(name, value []byte) error) error {
	value, changed := v.own[g][name]
	if !changed {
		value = v.over[g][name].value
	}
	if value == nil {
		return nil
	}
	return fn([]byte(name), value)
}

// above returns the names of a group that were changed on top of the database.
func (v *View) above(g group, from []byte) []string {
	var names []string
	for name := range v.over[g] {
		if name >= string(from) {
			names = append(names, name)
		}
	}
	for name := range v.own[g] {
		if _, both := v.over[g][name]; !both && name >= string(from) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Groups returns the prefixes of a bucket's groups that have records, in
// order.
func (v *View) Groups(bucket string) [][]byte {
	changed := map[string]bool{}
	for g := range v.over {
		if g.bucket == bucket {
			changed[g.prefix] = true
		}
	}
	for g := range v.own {
		if g.bucket == bucket {
			changed[g.prefix] = true
		}
	}
	var groups [][]byte
	for _, prefix := range v.stored(bucket) {
		if !changed[string(prefix)] {
			groups = append(groups, prefix)
		}
	}
	for prefix := range changed {
		if v.has(bucket, []byte(prefix)) {
			groups = append(groups, []byte(prefix))
		}
	}
	slices.SortFunc(groups, bytes.Compare)
	return groups
}

// stored returns the groups that the database itself has, without walking over
// their records.
func (v *View) stored(bucket string) [][]byte {
	b := v.bucket(bucket)
	if b == nil {
		return nil
	}
	var groups [][]byte
	cursor := b.Cursor()
	for name, _ := cursor.First(); len(name) >= GroupLen; {
		prefix := bytes.Clone(name[:GroupLen])
		groups = append(groups, prefix)
		next := following(prefix)
		if next == nil {
			break
		}
		name, _ = cursor.Seek(next)
	}
	return groups
}

// following returns the prefix after this one, nil after the last.
func following(prefix []byte) []byte {
	next := bytes.Clone(prefix)
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return next
		}
	}
	return nil
}

func (v *View) has(bucket string, prefix []byte) bool {
	return v.Each(bucket, prefix, nil, func(_, _ []byte) error { return errStop }) != nil
}

// Buckets returns the names of the buckets.
func (v *View) Buckets() []string {
	known := map[string]bool{}
	_ = v.tx.ForEach(func(name []byte, _ *bbolt.Bucket) error { // the function has no error
		known[string(name)] = true
		return nil
	})
	for g := range v.over {
		known[g.bucket] = true
	}
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Draft is a View of a change that is being made: it shows the change already.
type Draft struct{ View }

// Put changes a record; a nil value deletes it. The engine keeps the value.
func (d *Draft) Put(bucket string, name, value []byte) { d.own.set(bucket, name, value) }
