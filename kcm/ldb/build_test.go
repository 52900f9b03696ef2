package ldb

import (
	"encoding/binary"
	"fmt"
	"strings"

	"gosssd/kcm/protocol"
)

// builder writes a TDB file as SSSD's library would lay it out: records
// behind the hash chains, each new one at the head of its chain.
type builder struct{ file []byte }

const testBuckets = 7

func newBuilder() *builder {
	b := &builder{make([]byte, tdbHeaderSize+4*(testBuckets+1))}
	copy(b.file, tdbMagic)
	b.put(offsetVersion, tdbVersion)
	b.put(offsetBuckets, testBuckets)
	return b
}

func (b *builder) put(at, value int) { binary.LittleEndian.PutUint32(b.file[at:], uint32(value)) }

// raw adds a record with some room behind its data.
func (b *builder) raw(key, data string) (at int) {
	hash := len(key)*31 + int(key[len(key)-2])
	head := tdbHeaderSize + 4*(hash%testBuckets+1)
	at = len(b.file)
	const room = 8
	b.file = append(b.file, make([]byte, recordHeader)...)
	copy(b.file[at:], b.file[head:head+4])
	b.put(at+4, len(key)+len(data)+room)
	b.put(at+8, len(key))
	b.put(at+12, len(data))
	b.put(at+16, hash)
	b.put(at+20, recordLive)
	b.file = append(append(append(b.file, key...), data...), make([]byte, room)...)
	b.put(head, at)
	return at
}

// entry adds a record of the directory; attributes are pairs of name and value.
func (b *builder) entry(dn string, attributes ...string) (at int) {
	data := binary.LittleEndian.AppendUint32(nil, packVersion)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(attributes)/2))
	data = append(append(data, dn...), 0)
	for i := 0; i < len(attributes); i += 2 {
		data = append(append(data, attributes[i]...), 0)
		data = binary.LittleEndian.AppendUint32(data, 1)
		data = appendShort(data, attributes[i+1])
		data = append(data, 0)
	}
	return b.raw("DN="+strings.ToUpper(dn)+"\x00", string(data))
}

// cache adds a cache with credentials for services of these names.
func (b *builder) cache(uid uint32, n int, name string, created int64, services ...string) {
	b.entry(cacheDN(uid, n, name), "creationTime", fmt.Sprint(created), "secret", payload("alice", services...)+"what was in the heap")
}

func (b *builder) choose(uid uint32, n int) {
	b.entry(fmt.Sprintf("cn=default,cn=%d%s", uid, hiveSuffix), "creationTime", "1", "secret", testUUID(n).String()+"\x00")
}

func cacheDN(uid uint32, n int, name string) string {
	return fmt.Sprintf("cn=%s-%s%s%d%s", testUUID(n), name, cachesOf, uid, hiveSuffix)
}

func testUUID(n int) protocol.UUID {
	var id protocol.UUID
	binary.BigEndian.PutUint32(id[12:], uint32(n))
	return id
}

func appendShort(b []byte, data string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(data))), data...)
}

func testPrincipal(components ...string) protocol.Principal {
	p := protocol.Principal{Type: 1, Realm: []byte("EXAMPLE.TEST")}
	for _, c := range components {
		p.Components = append(p.Components, []byte(c))
	}
	return p
}

func testCredential(client, service string) []byte {
	return protocol.AppendCredential(nil, protocol.Credential{
		Client: testPrincipal(client), Server: testPrincipal("host", service),
		Key:    protocol.Keyblock{Enctype: 18, Key: []byte(strings.Repeat("k", 32))},
		Times:  protocol.Times{Auth: 1, Start: 2, End: 3, RenewTill: 4},
		Ticket: []byte("ticket for " + service),
	})
}

// payload is a cache as SSSD writes it, ten seconds behind its KDC.
func payload(client string, services ...string) string {
	b := binary.LittleEndian.AppendUint32(nil, 10)
	b = appendShort(append(b, 1), "EXAMPLE.TEST")
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = binary.LittleEndian.AppendUint32(b, 1)
	b = appendShort(b, client)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(services)))
	for i, service := range services {
		id := testUUID(i)
		b = appendShort(append(b, id[:]...), string(testCredential(client, service)))
	}
	return string(b)
}
