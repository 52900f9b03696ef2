// Package ldbtest writes databases as SSSD's own sssd_kcm leaves them, for
// tests of what reads them.
package ldbtest

import (
	"encoding/binary"
	"fmt"
	"strings"

	"gosssd/kcm/protocol"
)

// Builder writes a TDB file as SSSD's library would lay it out: records
// behind the hash chains, each new one at the head of its chain.
type Builder struct{ File []byte }

// Places of the header, and what stands there (kcm/ldb says more).
const (
	magic           = "TDB file\n"
	headerEnd       = 168
	headerSize      = 24
	OffsetVersion   = 32
	OffsetBuckets   = 36
	OffsetRecovery  = 44
	version         = 0x2601196d
	live            = 0x26011999
	packed          = 0x26011967
	Buckets         = 7
	HiveSuffix      = ",cn=persistent,cn=kcm"
	cachesContainer = ",cn=ccache,cn="
)

// New returns a database without records.
func New() *Builder {
	b := &Builder{make([]byte, headerEnd+4*(Buckets+1))}
	copy(b.File, magic)
	b.Put(OffsetVersion, version)
	b.Put(OffsetBuckets, Buckets)
	return b
}

// Put writes a number of the file.
func (b *Builder) Put(at, value int) { binary.LittleEndian.PutUint32(b.File[at:], uint32(value)) }

// Raw adds a record with some room behind its data.
func (b *Builder) Raw(key, data string) (at int) {
	hash := len(key)*31 + int(key[len(key)-2])
	head := headerEnd + 4*(hash%Buckets+1)
	at = len(b.File)
	const room = 8
	b.File = append(b.File, make([]byte, headerSize)...)
	copy(b.File[at:], b.File[head:head+4])
	b.Put(at+4, len(key)+len(data)+room)
	b.Put(at+8, len(key))
	b.Put(at+12, len(data))
	b.Put(at+16, hash)
	b.Put(at+20, live)
	b.File = append(append(append(b.File, key...), data...), make([]byte, room)...)
	b.Put(head, at)
	return at
}

// Entry adds a record of the directory; attributes are pairs of name and value.
func (b *Builder) Entry(dn string, attributes ...string) (at int) {
	data := binary.LittleEndian.AppendUint32(nil, packed)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(attributes)/2))
	data = append(append(data, dn...), 0)
	for i := 0; i < len(attributes); i += 2 {
		data = append(append(data, attributes[i]...), 0)
		data = binary.LittleEndian.AppendUint32(data, 1)
		data = appendShort(data, attributes[i+1])
		data = append(data, 0)
	}
	return b.Raw("DN="+strings.ToUpper(dn)+"\x00", string(data))
}

// Cache adds a cache with credentials for services of these names.
func (b *Builder) Cache(uid uint32, n int, name string, created int64, services ...string) {
	b.Entry(CacheDN(uid, n, name), "creationTime", fmt.Sprint(created), "secret", Payload("alice", services...)+"what was in the heap")
}

// Choose makes a cache its user's default.
func (b *Builder) Choose(uid uint32, n int) {
	b.Entry(fmt.Sprintf("cn=default,cn=%d%s", uid, HiveSuffix), "creationTime", "1", "secret", UUID(n).String()+"\x00")
}

// CacheDN is the name of a cache's record.
func CacheDN(uid uint32, n int, name string) string {
	return fmt.Sprintf("cn=%s-%s%s%d%s", UUID(n), name, cachesContainer, uid, HiveSuffix)
}

// UUID returns the nth UUID.
func UUID(n int) protocol.UUID {
	var id protocol.UUID
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return id
}

func appendShort(b []byte, data string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
}

// Principal returns a principal of EXAMPLE.TEST.
func Principal(components ...string) protocol.Principal {
	p := protocol.Principal{Type: 1, Realm: []byte("EXAMPLE.TEST")}
	for _, c := range components {
		p.Components = append(p.Components, []byte(c))
	}
	return p
}

// Credential returns a ticket for host/SERVICE.
func Credential(client, service string) []byte {
	return protocol.AppendCredential(nil, protocol.Credential{
		Client: Principal(client), Server: Principal("host", service),
		Key:    protocol.Keyblock{Enctype: 18, Key: []byte(strings.Repeat("k", 32))},
		Times:  protocol.Times{Auth: 1, Start: 2, End: 3, RenewTill: 4},
		Ticket: []byte("ticket for " + service),
	})
}

// Payload is the value of a cache as SSSD writes it, ten seconds behind its KDC.
func Payload(client string, services ...string) string {
	b := binary.LittleEndian.AppendUint32(nil, 10)
	b = appendShort(append(b, 1), "EXAMPLE.TEST")
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = appendShort(b, client)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(services)))
	for i, service := range services {
		id := UUID(i)
		b = appendShort(append(b, id[:]...), string(Credential(client, service)))
	}
	return string(b)
}
