package kcm

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"gosssd/kcm/logins"
	"gosssd/kcm/protocol"
)

// Keys of a user's records.
const (
	defaultKey    = "default"  // the UUID of the chosen cache, and of the default before if that is in force still
	importedKey   = "imported" // of root: the digests of the databases, and IDs of the archives, that were imported
	cachePrefix   = "ccache/"  // then the UUID of a cache: its header; then "/" and a sequence number: a credential
	seqDigits     = 16
	headerKeySize = len(cachePrefix) + 36
	credKeySize   = headerKeySize + 1 + seqDigits
)

// The first byte of a header or credential record is the version of its format.
const (
	recordVersion     = 1
	boundVersion      = 2 // of the header of a cache that ends with a session
	recordVersionSize = 1
)

func headerKey(id protocol.UUID) string {
	return string(id.AppendText(append(make([]byte, 0, headerKeySize), cachePrefix...)))
}

func credentialKey(id protocol.UUID, seq uint64) string {
	key := append(make([]byte, 0, credKeySize), cachePrefix...)
	key = append(id.AppendText(key), '/')
	for shift := 60; shift >= 0; shift -= 4 {
		key = append(key, "0123456789abcdef"[seq>>shift&15])
	}
	return string(key)
}

// parseKey takes a key apart; seq is 0 and isHeader true for that of a header.
func parseKey(key string) (id protocol.UUID, seq uint64, isHeader bool, err error) {
	idText, rest, hasSeq := strings.Cut(strings.TrimPrefix(key, cachePrefix), "/")
	if !strings.HasPrefix(key, cachePrefix) {
		return id, 0, false, fmt.Errorf("key of an unknown kind: %w", protocol.ErrMalformed)
	}
	if id, err = protocol.ParseUUID(idText); err != nil || !hasSeq {
		return id, 0, !hasSeq, err
	}
	seq, err = strconv.ParseUint(rest, 16, 64)
	if err != nil || credentialKey(id, seq) != key {
		return id, 0, false, fmt.Errorf("sequence number %q: %w", rest, protocol.ErrMalformed)
	}
	return id, seq, false, nil
}

// What stands above the permissions in the mode of a header.
const (
	generatedBit = 1 << 14
	endedBit     = 1 << 15
)

// encodeHeader writes what is known of c besides its credentials. Behind the
// version: sequence number, first credential, gid, mode, offset, name with
// its length, in boundVersion the session, and the principal if there is one.
func encodeHeader(c *cache) []byte {
	b := make([]byte, 0, 128+len(c.name)+len(c.principal))
	if c.session == nil {
		b = append(b, recordVersion)
	} else {
		b = append(b, boundVersion)
	}
	b = binary.BigEndian.AppendUint64(b, c.seq)
	b = binary.BigEndian.AppendUint64(b, c.firstCred)
	b = binary.BigEndian.AppendUint32(b, c.gid)
	mode := c.mode
	if c.generated {
		mode |= generatedBit
	}
	if c.ended {
		mode |= endedBit
	}
	b = binary.BigEndian.AppendUint16(b, mode)
	b = binary.BigEndian.AppendUint32(b, uint32(c.offset))
	b = binary.BigEndian.AppendUint32(b, uint32(len(c.name)))
	b = append(b, c.name...)
	if c.session != nil {
		b = appendSession(b, c.session)
	}
	return append(b, c.principal...)
}

// appendSession adds a session: boot, root, control group, user, and the name
// with its length.
func appendSession(b []byte, s *logins.Session) []byte {
	b = append(b, s.Boot[:]...)
	b = binary.BigEndian.AppendUint64(b, s.Root)
	b = binary.BigEndian.AppendUint64(b, s.Group)
	b = binary.BigEndian.AppendUint32(b, s.UID)
	return protocol.AppendData(b, []byte(s.Name))
}

// readSession reads what appendSession wrote.
func readSession(r *protocol.Reader) *logins.Session {
	s := &logins.Session{Boot: r.UUID()}
	s.Root = uint64(r.Uint32())<<32 | uint64(r.Uint32())
	s.Group = uint64(r.Uint32())<<32 | uint64(r.Uint32())
	s.UID = r.Uint32()
	s.Name = string(r.Data())
	return s
}

// decodeHeader reads what encodeHeader wrote; the UUID is in the key.
func decodeHeader(id protocol.UUID, b []byte) (*cache, error) {
	r := protocol.NewReader(b)
	version := r.Uint8()
	if r.Err() == nil && version != recordVersion && version != boundVersion {
		return nil, fmt.Errorf("version %d of a cache's record is not known: %w", version, protocol.ErrMalformed)
	}
	c := &cache{id: id, size: int64(len(b)), headerSize: len(b), used: new(atomic.Int64)}
	c.seq = uint64(r.Uint32())<<32 | uint64(r.Uint32())
	c.firstCred = uint64(r.Uint32())<<32 | uint64(r.Uint32())
	c.nextCred = c.firstCred
	c.gid = r.Uint32()
	mode := r.Uint16()
	c.mode, c.generated, c.ended = mode&permissions, mode&generatedBit != 0, mode&endedBit != 0
	c.offset = r.Int32()
	c.name = string(r.Data())
	if version == boundVersion {
		c.session = readSession(&r)
	}
	if r.Len() > 0 {
		c.principal = r.RawPrincipal()
	}
	known := mode&^(permissions|generatedBit|endedBit) == 0
	if r.Err() != nil || r.Len() > 0 || !known || len(c.name) > maxName || strings.Contains(c.name, "\x00") {
		return nil, fmt.Errorf("cache's record: %w", protocol.ErrMalformed)
	}
	return c, nil
}

// encodeCredential makes the record of a credential; raw has been checked.
func encodeCredential(raw []byte) []byte {
	return append(append(make([]byte, 0, recordVersionSize+len(raw)), recordVersion), raw...)
}

// newCredential makes a credential of what did not come from a client.
func newCredential(c protocol.Credential) (*credential, error) {
	return decodeCredential(0, encodeCredential(protocol.AppendCredential(nil, c)))
}

// decodeCredential reads what encodeCredential made and keeps record.
func decodeCredential(seq uint64, record []byte) (*credential, error) {
	if len(record) < recordVersionSize || record[0] != recordVersion {
		return nil, fmt.Errorf("version of a credential's record: %w", protocol.ErrMalformed)
	}
	parsed, err := protocol.ParseCredential(record[recordVersionSize:])
	if err != nil {
		return nil, fmt.Errorf("credential's record: %w", err)
	}
	return &credential{Credential: parsed, seq: seq, record: record}, nil
}

// readCredential takes the credential at the end of a request over. What
// follows it is ignored.
func readCredential(in *protocol.Reader) (*credential, error) {
	rest := in.Rest()
	if err := in.Err(); err != nil {
		return nil, err
	}
	record := encodeCredential(rest)
	r := protocol.NewReader(record[recordVersionSize:])
	parsed := r.Credential()
	if r.Err() != nil {
		return nil, r.Err()
	}
	if r.Len() > 0 { // do not keep it
		return decodeCredential(0, slices.Clone(record[:len(record)-r.Len()]))
	}
	return &credential{Credential: parsed, record: record}, nil
}

// readCredentials takes a list of credentials over, of at most so many; 0 is
// without limit. Their sequence numbers are still to be given.
func readCredentials(in *protocol.Reader, most int) ([]*credential, error) {
	n := in.Uint32()
	if most > 0 && int64(n) > int64(most) {
		return nil, errTooManyCreds
	}
	var creds []*credential
	for ; n > 0 && in.Err() == nil; n-- {
		raw := in.Data()
		if in.Err() != nil {
			break
		}
		cred, err := decodeCredential(0, encodeCredential(raw))
		if err != nil {
			return nil, err
		}
		creds = append(creds, cred)
	}
	return creds, in.Err()
}
