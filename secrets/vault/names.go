package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"strconv"
	"sync"
)

// nameLen is the length of a record's key on disk.
const nameLen = 16

// names hides the keys of records, and marks which records there are. Its
// secrets are random, made with the file, and sealed in it.
type names struct {
	secrets []byte       // 32 bytes for the keyed hash of names, 32 for the marks
	marker  cipher.Block // AES-256
	hashes  sync.Pool    // of hash.Hash, keyed
}

// namesLen is the length of the secrets in bytes.
const namesLen = 64

func newNames(secrets []byte) (*names, error) {
	if len(secrets) != namesLen {
		return nil, errUnsealed
	}
	marker, err := aes.NewCipher(secrets[32:])
	if err != nil {
		return nil, fmt.Errorf("prepare marks: %w", err)
	}
	n := &names{secrets: secrets, marker: marker}
	n.hashes.New = func() any { return hmac.New(sha256.New, n.secrets[:32]) }
	return n, nil
}

// of returns the key on disk of a record: its owner in clear, so that the
// records of one owner lie together, and a keyed hash of the key.
func (n *names) of(hive string, uid uint32, key string) []byte {
	mac := n.hashes.Get().(hash.Hash)
	defer n.hashes.Put(mac)
	mac.Reset()
	place := make([]byte, 0, 128)
	place = append(append(place, hive...), 0)
	place = append(strconv.AppendUint(place, uint64(uid), 10), 0)
	mac.Write(append(place, key...))
	name := make([]byte, 0, len(ownerName(0))+sha256.Size)
	name = binary.BigEndian.AppendUint32(name, uid)
	return mac.Sum(name)[:len(name)+nameLen]
}

// ownerName is the part of its records' keys that names the owner, and the
// whole key of the record that sums up the others.
func ownerName(uid uint32) []byte { return binary.BigEndian.AppendUint32(nil, uid) }

// mark is a fingerprint of one sealed record under its name: a CBC-MAC over
// two blocks, the hidden name and the tag. Marks of several records are
// combined by exclusive or; who does not know the secret cannot replace a set
// of records by another with the same sum.
func (n *names) mark(name, sealed []byte) (m mark) {
	n.marker.Encrypt(m[:], name[len(name)-nameLen:])
	for i, b := range sealed[len(sealed)-tagLen:] {
		m[i] ^= b
	}
	n.marker.Encrypt(m[:], m[:])
	return m
}

// ownerMark is the mark of an owner having records at all.
func (n *names) ownerMark(hive string, uid uint32) mark {
	return n.mark(n.of(hive, uid, ""), make([]byte, tagLen))
}

// uidOf is the owner in a name.
func uidOf(name []byte) uint32 { return binary.BigEndian.Uint32(name) }

type mark [16]byte

func (m *mark) toggle(other mark) {
	for i, b := range other {
		m[i] ^= b
	}
}
