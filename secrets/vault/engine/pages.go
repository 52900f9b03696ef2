package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The engine trusts its file: following a pointer in a damaged page it may
// panic, run in circles, or find less than there is. So before the engine sees
// a file, checkPages walks the whole of its structure.
//
// Layout, in the byte order of the machine (go.etcd.io/bbolt, file format 2):
//
//	page     id u64, flags u16, count u16, overflow u32, then its elements
//	meta     magic u32, version u32, page size u32, flags u32, root page u64,
//	         sequence u64, freelist page u64, pages in use u64, transaction u64,
//	         FNV-64a of all this u64
//	branch   element: position u32, key length u32, page u64
//	leaf     element: flags u32, position u32, key length u32, value length u32
//	bucket   value of a leaf element with flag 1: root page u64, sequence u64
//	         and, if the root page is 0, the page itself
const (
	pageHeader  = 16
	metaLen     = 64
	elementLen  = 16
	bucketLen   = 16
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01

	noFreelist = 1<<64 - 1

	maxDepth = 64 // of the tree; the engine's own never come near
)

var order = binary.NativeEndian

// usage tells how many pages of a file there are and how many of them hold
// something.
type usage struct {
	pages, used uint64
	pageSize    int64
}

// pageWalk is the walk over one file.
type pageWalk struct {
	file io.ReaderAt
	meta meta
	seen []uint64 // a bit for every page that was reached
	used uint64
}

// checkPages walks the structure of a database file of size bytes and says
// what is wrong with it.
func checkPages(file io.ReaderAt, size int64) (usage, error) {
	m, err := readMetas(file, size)
	if err != nil {
		return usage{}, err
	}
	w := &pageWalk{file: file, meta: m, seen: make([]uint64, m.pages/64+1)}
	for _, id := range []uint64{0, 1} {
		if err := w.reach(id, 0); err != nil {
			return usage{}, err
		}
	}
	if err := w.tree(m.root, span{buckets: true}); err != nil {
		return usage{}, err
	}
	if err := w.freelist(); err != nil {
		return usage{}, err
	}
	return usage{pages: m.pages, used: w.used, pageSize: int64(m.pageSize)}, nil
}

// reach notes that a page and the pages it flows over into are in use, once.
func (w *pageWalk) reach(id uint64, overflow uint32) error {
	for p := id; p <= id+uint64(overflow); p++ {
		if p >= w.meta.pages {
			return fmt.Errorf("page %d of %d", p, w.meta.pages)
		}
		if w.seen[p/64]&(1<<(p%64)) != 0 {
			return fmt.Errorf("page %d is used twice", p)
		}
		w.seen[p/64] |= 1 << (p % 64)
		w.used++
	}
	return nil
}

// page reads a page with what it flows over into.
func (w *pageWalk) page(id uint64) ([]byte, error) {
	size := int64(w.meta.pageSize)
	if id >= w.meta.pages {
		return nil, fmt.Errorf("page %d of %d", id, w.meta.pages)
	}
	page := make([]byte, size)
	if _, err := w.file.ReadAt(page, int64(id)*size); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	if order.Uint64(page) != id {
		return nil, fmt.Errorf("page %d says it is page %d", id, order.Uint64(page))
	}
	overflow := order.Uint32(page[12:])
	if err := w.reach(id, overflow); err != nil {
		return nil, err
	}
	if overflow > 0 {
		rest := make([]byte, int64(overflow)*size)
		if _, err := w.file.ReadAt(rest, int64(id+1)*size); err != nil {
			return nil, fmt.Errorf("page %d: %w", id, err)
		}
		page = append(page, rest...)
	}
	return page, nil
}

// span is what a part of a tree may hold: keys from low and below high, where
// nil means no bound, and either buckets, in the tree of the file, or none.
type span struct {
	low, high []byte
	buckets   bool
	depth     int
}

func (s span) holds(key []byte) bool {
	return (s.low == nil || bytes.Compare(key, s.low) >= 0) && (s.high == nil || bytes.Compare(key, s.high) < 0)
}

// tree walks the pages below id.
func (w *pageWalk) tree(id uint64, within span) error {
	page, err := w.page(id)
	if err != nil {
		return err
	}
	if err := w.elements(page, within); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// elements checks a branch or leaf page and all below it.
func (w *pageWalk) elements(page []byte, within span) error {
	flags, count := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if within.depth > maxDepth {
		return errors.New("the tree has no end")
	}
	if flags != branchPage && flags != leafPage || flags == branchPage && count == 0 {
		return fmt.Errorf("%d elements of kind %#x", count, flags)
	}
	keys := make([][]byte, count)
	values := make([][]byte, count)
	for i := range count {
		var err error
		if keys[i], values[i], err = element(page, flags, i); err != nil {
			return err
		}
		if i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 || !within.holds(keys[i]) {
			return fmt.Errorf("element %d is out of order", i)
		}
	}
	if flags == branchPage {
		return w.branches(keys, values, within)
	}
	return w.leaves(page, values, within)
}

// branches walks the pages below a branch page.
func (w *pageWalk) branches(keys, values [][]byte, within span) error {
	for i, value := range values {
		below := span{low: keys[i], high: within.high, buckets: within.buckets, depth: within.depth + 1}
		if i+1 < len(keys) {
			below.high = keys[i+1]
		}
		if err := w.tree(order.Uint64(value), below); err != nil {
			return err
		}
	}
	return nil
}

// leaves walks the buckets in a leaf page.
func (w *pageWalk) leaves(page []byte, values [][]byte, within span) error {
	for i, value := range values {
		isBucket := order.Uint32(page[pageHeader+i*elementLen:]) == bucketFlag
		if isBucket != within.buckets {
			return fmt.Errorf("element %d is of the wrong kind", i)
		}
		if !isBucket {
			continue
		}
		if err := w.bucket(value, within.depth+1); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

// element returns the key of an element and, of a leaf, its value or, of a
// branch, the number of the page below.
func element(page []byte, flags uint16, i int) (key, value []byte, err error) {
	start := pageHeader + i*elementLen
	if start+elementLen > len(page) {
		return nil, nil, fmt.Errorf("element %d is outside of the page", i)
	}
	e := page[start : start+elementLen]
	position, keyLen, valueLen := order.Uint32(e), order.Uint32(e[4:]), uint32(0)
	value = e[8:]
	if flags == leafPage {
		if order.Uint32(e) > bucketFlag {
			return nil, nil, fmt.Errorf("element %d is of an unknown kind", i)
		}
		position, keyLen, valueLen = order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
	}
	from := uint64(start) + uint64(position)
	to := from + uint64(keyLen)
	if to+uint64(valueLen) > uint64(len(page)) {
		return nil, nil, fmt.Errorf("element %d is outside of the page", i)
	}
	if flags == leafPage {
		value = page[to : to+uint64(valueLen)]
	}
	return page[from:to], value, nil
}

// bucket walks the tree of a bucket, which may lie in the value itself.
func (w *pageWalk) bucket(value []byte, depth int) error {
	if len(value) < bucketLen {
		return errors.New("a bucket is cut short")
	}
	if root := order.Uint64(value); root != 0 {
		return w.tree(root, span{depth: depth})
	}
	page := value[bucketLen:]
	if len(page) < pageHeader || order.Uint16(page[8:]) != leafPage {
		return errors.New("a bucket is cut short")
	}
	return w.elements(page, span{depth: depth})
}

// freelist checks that no page is called free that holds something: the next
// commit would write over it. A file need not have such a list.
func (w *pageWalk) freelist() error {
	if w.meta.freelist == noFreelist {
		return nil
	}
	page, err := w.page(w.meta.freelist)
	if err != nil {
		return fmt.Errorf("list of free pages: %w", err)
	}
	count, ids := uint64(order.Uint16(page[10:])), page[pageHeader:]
	if count == 0xffff {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if order.Uint16(page[8:]) != freelistPage || count > uint64(len(ids)/8) {
		return fmt.Errorf("the list of free pages has %d elements of kind %#x", count, order.Uint16(page[8:]))
	}
	used := w.used
	for i := range count {
		if err := w.reach(order.Uint64(ids[8*i:]), 0); err != nil {
			return fmt.Errorf("list of free pages: %w", err)
		}
	}
	w.used = used
	return nil
}
