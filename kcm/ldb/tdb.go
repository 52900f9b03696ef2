package ldb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// The file format is TDB's (Samba's lib/tdb, common/tdb_private.h): a header,
// the head of each hash chain, and records that name the next one of their
// chain. Numbers are in the byte order of the machine that wrote the file.
const (
	tdbMagic        = "TDB file\n"
	tdbMagicSize    = 32 // filled up with NUL
	tdbVersion      = 0x2601196d
	tdbHeaderSize   = 168
	recordHeader    = 24 // next, length, key's length, data's length, hash, magic
	recordLive      = 0x26011999
	recordDead      = 0xfee1dead // deleted while somebody read it
	recoveryPending = 0xf53bc0e7 // of the recovery area: a transaction was cut off

	offsetVersion  = 32
	offsetBuckets  = 36
	offsetRecovery = 44
)

// ErrNotTDB is returned for a file that is not a TDB database.
var ErrNotTDB = errors.New("not a TDB database")

// ErrUnfinished is returned for a database whose last transaction was cut
// off. Its own program repairs it at the next start.
var ErrUnfinished = errors.New("the last transaction was cut off; SSSD's own sssd_kcm repairs that when it starts")

// tdb is a TDB file that has been read into memory.
type tdb struct {
	file    []byte
	buckets uint32
}

// openTDB checks the header of a file.
func openTDB(file []byte) (*tdb, error) {
	if len(file) < tdbHeaderSize || string(file[:tdbMagicSize]) != tdbMagic+strings.Repeat("\x00", tdbMagicSize-len(tdbMagic)) {
		return nil, ErrNotTDB
	}
	d := &tdb{file: file}
	switch version := d.uint32(offsetVersion); version {
	case tdbVersion:
	case 0x6d190126:
		return nil, errors.New("the database was written on a machine of the other byte order")
	default:
		return nil, fmt.Errorf("version %#x of TDB, not %#x", version, uint32(tdbVersion))
	}
	d.buckets = d.uint32(offsetBuckets)
	// The list of free records has a head of its own before the others.
	if end := tdbHeaderSize + 4*(int64(d.buckets)+1); d.buckets == 0 || end > int64(len(file)) {
		return nil, fmt.Errorf("%d hash chains do not fit into %d bytes", d.buckets, len(file))
	}
	recovery := d.uint32(offsetRecovery)
	if recovery == 0 {
		return d, nil
	}
	if int64(recovery)+recordHeader > int64(len(file)) {
		return nil, fmt.Errorf("the recovery area at %d is behind the end of %d bytes", recovery, len(file))
	}
	if d.uint32(recovery+20) == recoveryPending {
		return nil, ErrUnfinished
	}
	return d, nil
}

func (d *tdb) uint32(at uint32) uint32 { return binary.LittleEndian.Uint32(d.file[at:]) }

// records calls found with each live record. Where a chain is damaged, its
// rest cannot be found; damaged is told and the other chains are read.
func (d *tdb) records(found func(key, data []byte), damaged func(error)) {
	seen := map[uint32]bool{}
	for bucket := range d.buckets {
		head := tdbHeaderSize + 4*(bucket+1)
		for at := d.uint32(head); at != 0; at = d.uint32(at) {
			if seen[at] {
				damaged(fmt.Errorf("hash chain %d comes twice to the record at %d", bucket, at))
				break
			}
			seen[at] = true
			key, data, err := d.record(at)
			if err != nil {
				damaged(fmt.Errorf("hash chain %d: %w", bucket, err))
				break
			}
			if key != nil {
				found(key, data)
			}
		}
	}
}

// record reads the record at an offset; a dead one has no key.
func (d *tdb) record(at uint32) (key, data []byte, err error) {
	size := int64(len(d.file))
	if int64(at)+recordHeader > size {
		return nil, nil, fmt.Errorf("a record at %d is behind the end of %d bytes", at, size)
	}
	length, keySize, dataSize := int64(d.uint32(at+4)), int64(d.uint32(at+8)), int64(d.uint32(at+12))
	switch magic := d.uint32(at + 20); magic {
	case recordLive:
	case recordDead:
		return nil, nil, nil
	default:
		return nil, nil, fmt.Errorf("the record at %d begins with %#x, not %#x", at, magic, uint32(recordLive))
	}
	start := int64(at) + recordHeader
	if keySize+dataSize > length || start+length > size {
		return nil, nil, fmt.Errorf("the record at %d has a key of %d and data of %d bytes in %d, and the file ends at %d",
			at, keySize, dataSize, length, size)
	}
	return d.file[start : start+keySize : start+keySize], d.file[start+keySize : start+keySize+dataSize : start+keySize+dataSize], nil
}
