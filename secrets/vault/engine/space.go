package engine

import (
	"errors"
	"math"
	"os"
	"sync/atomic"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// When the disk is full, users must still be able to log in, to delete what
// they have, and above all to read. So the database owns more of the disk than
// it uses: reserveBytes behind its last page. While the disk gives more, the
// reserve is not touched. When it does not, changes that need little are made
// from the first half of it, and those that make the file smaller from the
// second: a commit writes new pages before it gives the old ones back.
const (
	reserveBytes = 4 << 20
	// smallChange is what a login needs, in bytes.
	smallChange = 64 << 10
	// allocStep is by how much more is asked for at a time.
	allocStep = 1 << 20
)

// space is what the database has of the disk.
type space struct {
	allocated int64       // bytes of the file, from its beginning
	refused   error       // why the disk gives no more; nil while it does
	tight     atomic.Bool // refused is not nil
}

// recall learns what the process before this one was given of the disk. That
// asked for whole steps, from the beginning of the file.
func (s *space) recall(f *os.File) error {
	bytes, err := allocated(f)
	s.allocated = bytes / allocStep * allocStep
	return err
}

// admit refuses changes that there is no room for.
func (e *Engine) admit(made changes) error {
	if !e.space.tight.Load() {
		return nil
	}
	grown, err := e.growth(made)
	if err != nil || grown <= 0 {
		return err
	}
	refused, err := e.lacks(grown)
	if err != nil || refused == nil {
		return err
	}
	// What was deleted gives its room back when it leaves the journal.
	if err := e.drain(); err != nil {
		return err
	}
	if refused, err = e.lacks(grown); err != nil || refused == nil {
		return err
	}
	return &FullError{File: e.path, Err: refused}
}

// lacks says why there is no room for changes that make what is stored larger;
// nil if there is.
func (e *Engine) lacks(grown int64) (refused, err error) {
	e.storing.Lock()
	defer e.storing.Unlock()
	used, err := e.used()
	if err != nil {
		return nil, err
	}
	e.allocate(used + 2*grown + reserveBytes)
	if grown <= smallChange && e.room(used) > reserveBytes/2 {
		return nil, nil
	}
	return e.space.refused, nil
}

// room is how many bytes can be written without asking the disk for any.
func (e *Engine) room(used int64) int64 {
	stats := e.db.Stats()
	free := int64(stats.FreePageN+stats.PendingPageN) * int64(e.db.Info().PageSize)
	return e.space.allocated - used + free
}

// used is how many bytes of the file the database uses, up to its last page.
func (e *Engine) used() (bytes int64, err error) {
	err = e.db.View(func(tx *bbolt.Tx) error {
		bytes = tx.Size()
		return nil
	})
	return bytes, err
}

// growth is by how many bytes changes make what is stored larger.
func (e *Engine) growth(made changes) (grown int64, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	err = e.db.View(func(tx *bbolt.Tx) error {
		v := newView(tx, e.over)
		for g, records := range made {
			for name, value := range records {
				if value != nil {
					grown += int64(len(name) + len(value))
				}
				if old := v.Get(g.bucket, []byte(name)); old != nil {
					grown -= int64(len(name) + len(old))
				}
			}
		}
		return nil
	})
	return grown, err
}

// reserve sees to it that the disk has room for a commit, and the reserve
// behind it. A commit is tried without it too.
func (e *Engine) reserve(made changes) error {
	need := int64(0)
	for _, records := range made {
		for name, value := range records {
			need += int64(2*(len(name)+len(value))) + elementLen
		}
	}
	used, err := e.used()
	if err != nil {
		return err
	}
	e.allocate(used + need + reserveBytes)
	return nil
}

// allocate asks the disk for the first want bytes of the file. The size of the
// file stays what it is.
func (e *Engine) allocate(want int64) {
	have := e.space.allocated
	if want > have {
		want = (want + allocStep - 1) / allocStep * allocStep
		err := fallocate(e.disk, have, want-have)
		switch {
		case err == nil:
			have = want
		case !isFull(err): // the file system has no such call: a full disk is met when it is written to
			have, err = math.MaxInt64, nil
		}
		e.space.allocated, e.space.refused = have, err
	} else {
		e.space.refused = nil
	}
	e.space.tight.Store(e.space.refused != nil)
}

func fallocate(f *os.File, from, bytes int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, from, bytes)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
