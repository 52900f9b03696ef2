package vault

import (
	"bytes"
	"maps"

	"gosssd/secrets/vault/engine"
)

// batch is a commit of the changes of several goroutines.
type batch struct {
	snapshot
	writer writer
	owners map[ownerID]*owner
	hives  map[string]bool   // whose list of owners changed
	totals map[string]totals // of hives, with the changes so far
	grown  []ownerID         // whose units are kept with the changes so far
	made   bool              // something was changed
}

// owner is what a batch knows of one owner of records.
type owner struct {
	id      ownerID
	summary summary
	before  summary // as it is on disk
	reseal  bool    // write the summary even if it is the same
}

// units are the sizes of an owner's things that consist of several records;
// nil until somebody asks. They are kept between batches.
type units struct{ sizes map[string]int64 }

// maxUnits bounds the owners whose units are kept.
const maxUnits = 4096

// end takes over what the batch knows of the file, if its changes were made,
// and else forgets it.
func (b *batch) end(made bool) {
	if made {
		maps.Copy(b.file.totals, b.totals)
		return
	}
	if b.file == nil {
		return // it had not begun
	}
	for _, id := range b.grown {
		delete(b.file.cache, id)
	}
}

// owner returns an owner for changing. The records of one whose records were
// not checked since the file was opened are checked first, since a change
// would hide that something is amiss.
func (b *batch) owner(id ownerID) (*owner, error) {
	if o := b.owners[id]; o != nil {
		return o, nil
	}
	if b.records.Get(engine.Head, []byte(hivePrefix+id.hive)) == nil {
		b.hives[id.hive] = true // a hive that the head does not list would be taken for damage
	}
	sum, err := b.summary(id)
	if err != nil {
		return nil, err
	}
	if b.file.cache[id] == nil {
		if err := b.verify(id); err != nil {
			return nil, err
		}
		if len(b.file.cache) >= maxUnits {
			clear(b.file.cache)
		}
		b.file.cache[id] = &units{}
	}
	o := &owner{id: id, summary: sum, before: sum}
	b.owners[id] = o
	return o, nil
}

// put stores a record, or deletes it.
func (b *batch) put(o *owner, r record) error {
	if r.value != nil && (r.by != b.file || !b.file.sealer.current(r.sealed)) { // opened again, or under another key, since
		var err error
		if r, err = b.file.seal(o.id, r.key, r.value, r.rule); err != nil {
			return err
		}
	}
	old := b.sealed(o.id, r.name)
	if old == nil && r.value == nil {
		return nil
	}
	b.made = true
	unit, counted := r.rule(r.key)
	var grown int64
	if old != nil {
		grown -= valueSize(r.key, old)
		b.account(o, r.name, old, counted, -1)
	}
	if r.value != nil {
		grown += int64(len(r.value))
		b.account(o, r.name, r.sealed, counted, 1)
	}
	b.grow(o.id, unit, grown)
	b.set(o.id, r.name, r.sealed)
	return nil
}

// set changes a record of an owner; nil deletes it.
func (b *batch) set(id ownerID, name, sealed []byte) {
	b.writer.Put(hiveBucket(id.hive), name, sealed)
}

// account notes that a record comes (1) or goes (-1).
func (b *batch) account(o *owner, name, sealed []byte, counted bool, n int) {
	o.summary.records += uint64(n)
	o.summary.sum.toggle(b.file.names.mark(name, sealed))
	if counted {
		o.summary.counted += uint64(n)
		t := b.total(o.id.hive)
		t.counted += uint64(n)
		b.totals[o.id.hive] = t
	}
}

// total is what a hive has with the changes so far.
func (b *batch) total(hive string) totals {
	if t, changed := b.totals[hive]; changed {
		return t
	}
	return b.file.totals[hive]
}

// grow keeps the size of a unit, if units are known.
func (b *batch) grow(id ownerID, unit string, bytes int64) {
	known := b.file.cache[id]
	if known == nil || known.sizes == nil {
		return
	}
	b.grown = append(b.grown, id)
	if known.sizes[unit] += bytes; known.sizes[unit] <= 0 {
		delete(known.sizes, unit)
	}
}

// unitSize adds up the values of the records of one unit.
func (b *batch) unitSize(o *owner, rule Rule, unit string) (int64, error) {
	known := b.file.cache[o.id]
	if known == nil {
		known = &units{} // dropped by a later owner of this batch; counted afresh
	}
	if known.sizes == nil {
		sizes := map[string]int64{}
		err := b.all(o.id, o.summary, func(key string, value []byte) {
			of, _ := rule(key)
			sizes[of] += int64(len(value))
			clear(value)
		})
		if err != nil {
			return 0, err
		}
		known.sizes = sizes
		b.grown = append(b.grown, o.id)
	}
	return known.sizes[unit], nil
}

// finish writes the sums of what was changed.
func (b *batch) finish() error {
	for _, o := range b.owners {
		if err := b.finishOwner(o); err != nil {
			return err
		}
	}
	for hive := range b.hives {
		name := hivePrefix + hive
		sealed, err := b.file.sealer.seal(headPlace(name), b.total(hive).owners.encode())
		if err != nil {
			return err
		}
		b.writer.Put(engine.Head, []byte(name), sealed)
	}
	return nil
}

func (b *batch) finishOwner(o *owner) error {
	if o.summary == o.before && !o.reseal {
		return nil
	}
	if (o.summary.records == 0) != (o.before.records == 0) {
		b.enlist(o.id, o.summary.records > 0)
	}
	return b.writeSummary(o.id, o.summary)
}

func (b *batch) writeSummary(id ownerID, s summary) error {
	name := ownerName(id.uid)
	if s.records == 0 {
		b.set(id, name, nil)
		return nil
	}
	sealed, err := b.file.sealer.seal(id.place(name), s.encode())
	if err != nil {
		return err
	}
	b.set(id, name, sealed)
	return nil
}

// discard deletes every record of an owner, without reading them.
func (b *batch) discard(id ownerID) error {
	if o := b.owners[id]; o != nil { // changed earlier in this batch
		if err := b.finishOwner(o); err != nil {
			return err
		}
		delete(b.owners, id)
	}
	var gone [][]byte
	collect := func(name, _ []byte) error {
		gone = append(gone, bytes.Clone(name))
		return nil
	}
	if err := b.each(id, collect); err != nil {
		return err
	}
	if name := ownerName(id.uid); b.sealed(id, name) != nil {
		gone = append(gone, name)
	}
	if len(gone) == 0 {
		return nil
	}
	if sum, err := b.summary(id); err == nil {
		t := b.total(id.hive)
		t.counted -= sum.counted // of a damaged one nothing was added
		b.totals[id.hive] = t
	}
	b.made = true
	b.enlist(id, false)
	delete(b.file.cache, id)
	for _, name := range gone {
		b.set(id, name, nil)
	}
	return nil
}

// enlist notes that an owner has records, or none any more.
func (b *batch) enlist(id ownerID, has bool) {
	t := b.total(id.hive)
	t.owners.records--
	if has {
		t.owners.records += 2
	}
	t.owners.sum.toggle(b.file.names.ownerMark(id.hive, id.uid))
	b.totals[id.hive] = t
	b.hives[id.hive] = true
}
