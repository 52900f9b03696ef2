package powercut

import (
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// sectors are the sizes of what a disk writes whole or not at all.
var sectors = []int64{512, 4096}

// State is what may be there after the power was cut.
type State struct {
	After int // how many events there were
	Files map[string][]byte
	Said  string // what the process had written to its output
}

// Write puts the state into a directory, in the place of what is there.
func (s State) Write(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if _, stays := s.Files[entry.Name()]; !stays {
			if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	for name, data := range s.Files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Lost counts the states of so many cuts in which check finds something wrong.
func (t *Trace) Lost(count int, random *rand.Rand, check func(State) error) (lost int) {
	for state := range t.States(count, random) {
		if check(state) != nil {
			lost++
		}
	}
	return lost
}

// States returns count states that a disk may be in when the power is cut, at
// places all over the trace. The directory was empty before.
func (t *Trace) States(count int, random *rand.Rand) iter.Seq[State] {
	return func(yield func(State) bool) {
		chance := float64(count) / float64(len(t.events))
		for left := count; left > 0; {
			d := newDisk(random)
			for i, e := range t.events {
				d.play(e)
				if random.Float64() >= chance || left == 0 {
					continue
				}
				left--
				if !yield(State{After: i + 1, Files: d.cut(), Said: string(d.said)}) {
					return
				}
			}
		}
	}
}

// inode is a file: what is on the disk, and what was written since, in order.
type inode struct {
	durable []byte
	pending []event
}

// disk is a directory on a disk.
type disk struct {
	random  *rand.Rand
	sector  int64
	now     map[string]*inode // as the process sees it
	durable map[string]*inode
	names   []map[string]*inode // changes that are not durable; nil removes
	said    []byte
}

func newDisk(random *rand.Rand) *disk {
	return &disk{
		random: random, sector: sectors[random.IntN(len(sectors))],
		now: map[string]*inode{}, durable: map[string]*inode{},
	}
}

func (d *disk) play(e event) {
	switch e.kind {
	case said:
		d.said = append(d.said, e.data...)
	case made:
		d.now[e.file] = &inode{}
	case linked:
		d.rename(map[string]*inode{e.to: d.now[e.file]})
	case renamed:
		d.rename(map[string]*inode{e.file: nil, e.to: d.now[e.file]})
	case removed:
		d.rename(map[string]*inode{e.file: nil})
	case written, sized:
		if f := d.now[e.file]; f != nil {
			f.pending = append(f.pending, e)
		}
	case synced:
		if e.file == "" {
			for _, change := range d.names {
				apply(d.durable, change)
			}
			d.names = nil
		} else if f := d.now[e.file]; f != nil {
			f.durable, f.pending = f.after(d.sector, func(writes int) int { return writes }), nil
		}
	case unsynced:
		// Names stay to be written. Of the file, what did not reach the disk is
		// taken for written, and no later sync will do anything about it.
		if f := d.now[e.file]; f != nil {
			f.durable, f.pending = f.after(d.sector, d.any()), nil
		}
	}
}

func (d *disk) rename(change map[string]*inode) {
	apply(d.now, change)
	d.names = append(d.names, change)
}

func apply(names, change map[string]*inode) {
	for name, file := range change {
		if file == nil {
			delete(names, name)
		} else {
			names[name] = file
		}
	}
}

// cut returns what is there when the power comes back.
func (d *disk) cut() map[string][]byte {
	names := maps.Clone(d.durable)
	for _, change := range d.names[:d.random.IntN(len(d.names)+1)] {
		apply(names, change)
	}
	files := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		files[name] = names[name].after(d.sector, d.any())
	}
	return files
}

// any returns a function that chooses how many of the writes to a sector the
// disk has: none, some, or nearly all of what was not synced.
func (d *disk) any() func(writes int) int {
	share := d.random.Float64()
	return func(writes int) int {
		if d.random.Float64() < share {
			return writes
		}
		return d.random.IntN(writes)
	}
}

// after returns the file with the first writes to each sector, as many as choose
// says of how many there are.
func (f *inode) after(sector int64, choose func(writes int) int) []byte {
	data := slices.Clone(f.durable)
	writes := map[int64]int{}
	for _, e := range f.pending {
		for at := range e.parts(sector) {
			writes[at/sector]++
		}
	}
	for _, at := range slices.Sorted(maps.Keys(writes)) {
		writes[at] = choose(writes[at])
	}
	sizes := 0
	for _, e := range f.pending {
		if e.kind == sized {
			sizes++
		}
	}
	if sizes > 0 {
		sizes = choose(sizes)
	}
	for _, e := range f.pending {
		if e.kind == sized {
			if sizes--; sizes >= 0 {
				data = slices.Grow(data, int(max(0, e.at-int64(len(data)))))
				data = append(data[:min(int64(len(data)), e.at)], make([]byte, max(0, e.at-int64(len(data))))...)
			}
			continue
		}
		for at, part := range e.parts(sector) {
			if writes[at/sector]--; writes[at/sector] < 0 {
				continue
			}
			if end := at + int64(len(part)); end > int64(len(data)) {
				data = append(data, make([]byte, end-int64(len(data)))...)
			}
			copy(data[at:], part)
		}
	}
	return data
}

// parts returns what an event writes to each sector.
func (e event) parts(sector int64) iter.Seq2[int64, []byte] {
	return func(yield func(int64, []byte) bool) {
		for done := int64(0); done < int64(len(e.data)); {
			at := e.at + done
			n := min((at/sector+1)*sector-at, int64(len(e.data))-done)
			if !yield(at, e.data[done:done+n]) {
				return
			}
			done += n
		}
	}
}
