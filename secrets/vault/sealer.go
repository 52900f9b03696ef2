package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// A sealed record is
//
//	format version (1 byte)  key id (8)  nonce (12)  ciphertext  tag (16)
//
// with AES-256-GCM under a key that is derived from the master key for each
// owner. Its associated data is the version, the key id and its place, so
// that a record that was moved or swapped does not open.
const (
	sealVersion  = 1
	sealHeader   = 1 + len(keyID{})
	nonceLen     = 12
	tagLen       = 16
	sealOverhead = sealHeader + nonceLen + tagLen
)

// errUnsealed is returned for bytes that are not a record sealed for their
// place under a key at hand.
var errUnsealed = errors.New("a record does not open")

// place is where a record lies. Owners' records are in a hive; those of the
// file itself are in the hive "".
type place struct {
	hive string
	uid  uint32
	name []byte // the record's key on disk
}

// sealer seals and opens records. It is safe for concurrent use.
type sealer struct {
	mu      sync.RWMutex
	roots   map[keyID][]byte // extracted from the master keys and the file's salt
	active  keyID            // what is sealed from now on is sealed under this key
	ciphers map[cipherID]cipher.AEAD
}

type cipherID struct {
	key  keyID
	hive string
	uid  uint32
}

// maxCiphers bounds the derived keys that are kept.
const maxCiphers = 4096

func newSealer() *sealer {
	return &sealer{roots: map[keyID][]byte{}, ciphers: map[cipherID]cipher.AEAD{}}
}

// add makes records sealed under a master key readable.
func (s *sealer) add(key masterKey, salt []byte) error {
	root, err := hkdf.Extract(sha256.New, key.secret, salt)
	if err != nil {
		return fmt.Errorf("derive from master key %s: %w", key.path, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.roots[key.id] = root
	return nil
}

// activate seals under a master key from now on.
func (s *sealer) activate(id keyID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = id
}

// forget drops all master keys but the active one.
func (s *sealer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, root := range s.roots {
		if id != s.active {
			clear(root)
			delete(s.roots, id)
		}
	}
	clear(s.ciphers)
}

// drop makes the sealer forget one key, which is not the active one.
func (s *sealer) drop(id keyID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.roots[id])
	delete(s.roots, id)
	clear(s.ciphers)
}

// rekeying reports whether records are sealed under more than one key.
func (s *sealer) rekeying() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.roots) > 1
}

// current reports whether a record is sealed under the active key.
func (s *sealer) current(sealed []byte) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(sealed) >= sealHeader && keyID(sealed[1:sealHeader]) == s.active
}

// seal returns plain sealed for its place.
func (s *sealer) seal(at place, plain []byte) ([]byte, error) {
	s.mu.RLock()
	id := s.active
	s.mu.RUnlock()
	return s.sealUnder(id, at, plain)
}

func (s *sealer) sealUnder(id keyID, at place, plain []byte) ([]byte, error) {
	aead, err := s.cipher(cipherID{id, at.hive, at.uid})
	if err != nil {
		return nil, err
	}
	sealed := make([]byte, sealHeader, sealOverhead+len(plain))
	sealed[0] = sealVersion
	copy(sealed[1:], id[:])
	return aead.Seal(sealed, nil, plain, at.bind(sealed)), nil
}

// open returns what was sealed for a place.
func (s *sealer) open(at place, sealed []byte) ([]byte, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealVersion {
		return nil, errUnsealed
	}
	aead, err := s.cipher(cipherID{keyID(sealed[1:sealHeader]), at.hive, at.uid})
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed[sealHeader:], at.bind(sealed[:sealHeader]))
	if err != nil {
		return nil, errUnsealed
	}
	return plain, nil
}

// bind returns the associated data of a record: its header and its place.
func (p place) bind(header []byte) []byte {
	b := make([]byte, 0, 64)
	b = append(b, header...)
	b = append(b, byte(len(p.hive)))
	b = append(b, p.hive...)
	b = binary.BigEndian.AppendUint32(b, p.uid)
	return append(b, p.name...)
}

// cipher returns the cipher of an owner under a master key.
func (s *sealer) cipher(id cipherID) (cipher.AEAD, error) {
	s.mu.RLock()
	aead, root := s.ciphers[id], s.roots[id.key]
	s.mu.RUnlock()
	if aead != nil {
		return aead, nil
	}
	if root == nil {
		return nil, errUnsealed
	}
	info := fmt.Sprintf("gosssd vault seal\x00%s\x00%d", id.hive, id.uid)
	key, err := hkdf.Expand(sha256.New, root, info, 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	if aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ciphers) >= maxCiphers {
		clear(s.ciphers)
	}
	s.ciphers[id] = aead
	return aead, nil
}
