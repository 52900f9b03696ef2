package engine

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// meta is one of the two alternating heads of the file.
type meta struct {
	pageSize                    uint32
	root, freelist, pages, txid uint64
}

// readMetas returns the newer of the two heads. Both must be right: were the
// newer one given up for the older, the last commit would be gone unnoticed.
// A crash does not tear them, since a head lies within one disk sector.
func readMetas(file io.ReaderAt, size int64) (meta, error) {
	first, err := readMeta(file, 0)
	if err != nil {
		return meta{}, fmt.Errorf("first head: %w", err)
	}
	if n := first.pageSize; n < 1024 || n > 64<<10 || n&(n-1) != 0 {
		return meta{}, fmt.Errorf("page size %d", n)
	}
	second, err := readMeta(file, int64(first.pageSize))
	if err != nil {
		return meta{}, fmt.Errorf("second head: %w", err)
	}
	newer := first
	if second.txid > first.txid {
		newer = second
	}
	held := uint64(size) / uint64(first.pageSize)
	if second.pageSize != first.pageSize || newer.pages < 4 || newer.pages > held {
		return meta{}, fmt.Errorf("%d pages of %d bytes do not fit a file of %d bytes", newer.pages, second.pageSize, size)
	}
	return newer, nil
}

func readMeta(file io.ReaderAt, at int64) (meta, error) {
	var b [pageHeader + metaLen]byte
	if _, err := file.ReadAt(b[:], at); err != nil {
		return meta{}, err
	}
	m := b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(m[:metaLen-8])
	switch {
	case order.Uint32(m) != boltMagic:
		return meta{}, errors.New("not a database")
	case order.Uint32(m[4:]) != boltVersion:
		return meta{}, fmt.Errorf("database version %d", order.Uint32(m[4:]))
	case order.Uint64(m[56:]) != sum.Sum64():
		return meta{}, errors.New("wrong checksum")
	}
	return meta{
		pageSize: order.Uint32(m[8:]),
		root:     order.Uint64(m[16:]),
		freelist: order.Uint64(m[32:]),
		pages:    order.Uint64(m[40:]),
		txid:     order.Uint64(m[48:]),
	}, nil
}
