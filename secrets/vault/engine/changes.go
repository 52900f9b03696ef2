package engine

import (
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// GroupLen is how many bytes of a name tell its group: the records of one
// group are found together. Every name is at least this long.
const GroupLen = 4

// group is the records of one bucket whose names begin with the same bytes.
type group struct {
	bucket string
	prefix string
}

func groupOf(bucket string, name []byte) group {
	return group{bucket: bucket, prefix: string(name[:GroupLen])}
}

// changes are records that are put (a value) or deleted (nil), by group.
type changes map[group]map[string][]byte

func (c changes) set(bucket string, name, value []byte) {
	g := groupOf(bucket, name)
	if c[g] == nil {
		c[g] = map[string][]byte{}
	}
	c[g][string(name)] = value
}

// change is one of the changes.
type change struct {
	group group
	name  string
	value []byte
}

// sorted returns the changes in the order in which the database keeps them. In
// another order, putting many of them takes the square of their number.
func (c changes) sorted() []change {
	n := 0
	for _, records := range c {
		n += len(records)
	}
	all := make([]change, 0, n)
	for g, records := range c {
		for name, value := range records {
			all = append(all, change{g, name, value})
		}
	}
	slices.SortFunc(all, func(a, b change) int {
		if a.group.bucket != b.group.bucket {
			return strings.Compare(a.group.bucket, b.group.bucket)
		}
		return strings.Compare(a.name, b.name)
	})
	return all
}

func (c changes) applyTo(tx *bbolt.Tx) error {
	var bucket *bbolt.Bucket
	of := ""
	for _, r := range c.sorted() {
		var err error
		if bucket == nil || r.group.bucket != of {
			if bucket, err = tx.CreateBucketIfNotExists([]byte(r.group.bucket)); err != nil {
				return err
			}
			of = r.group.bucket
		}
		if r.value == nil {
			err = bucket.Delete([]byte(r.name))
		} else {
			err = bucket.Put([]byte(r.name), r.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// overlay is the changes that are in the journal and not yet in the database,
// each with the number of the entry that made it last.
type overlay map[group]map[string]logged

type logged struct {
	value  []byte
	number uint32
}

// add takes over the changes of an entry.
func (o overlay) add(c changes, number uint32) {
	for g, records := range c {
		if o[g] == nil {
			o[g] = make(map[string]logged, len(records))
		}
		for name, value := range records {
			o[g][name] = logged{value, number}
		}
	}
}

// addDue adds to due those changes of an entry that no later entry has made
// again, and returns about how many bytes more are to be written for them.
func (o overlay) addDue(due changes, e *entry) (bytes int64) {
	for _, n := range e.names {
		now, there := o[n.group][n.name]
		if !there || now.number != e.number {
			continue
		}
		if due[n.group] == nil {
			due[n.group] = map[string][]byte{}
			bytes += groupBytes
		}
		due[n.group][n.name] = now.value
		bytes += int64(len(n.name) + len(now.value))
	}
	return bytes
}

// removeUpTo drops changes that the database has now, unless an entry after the
// one with this number has made them again.
func (o overlay) removeUpTo(c changes, number uint32) {
	for g, records := range c {
		for name := range records {
			if o[g][name].number <= number {
				delete(o[g], name)
			}
		}
		if len(o[g]) == 0 {
			delete(o, g)
		}
	}
}
