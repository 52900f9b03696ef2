package protocol

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Principal is a Kerberos name: a name type, a realm, and components such as
// "host" and "server.example.org".
type Principal struct {
	Type       int32
	Realm      []byte
	Components [][]byte
}

// MaxItems bounds the components of a principal and the addresses and
// authorization data of a credential. Empty ones take four bytes on the wire
// and many more in memory, so the length of a frame alone bounds too little.
const MaxItems = 4096

// Principal reads a principal. In version 4 the count does not include the realm.
func (r *Reader) Principal() Principal {
	p := Principal{Type: r.Int32()}
	n := r.count(lengthSize)
	p.Realm = r.Data()
	if n > 0 && r.err == nil {
		p.Components = make([][]byte, 0, n)
	}
	for ; n > 0 && r.err == nil; n-- {
		p.Components = append(p.Components, r.Data())
	}
	if r.err != nil {
		return Principal{}
	}
	return p
}

// RawPrincipal reads a principal and returns its bytes, checked.
func (r *Reader) RawPrincipal() []byte {
	before := r.rest
	r.Principal()
	return r.since(before)
}

// AppendPrincipal appends p.
func AppendPrincipal(b []byte, p Principal) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(p.Type))
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.Components)))
	b = AppendData(b, p.Realm)
	for _, component := range p.Components {
		b = AppendData(b, component)
	}
	return b
}

// Clone returns a copy that shares no bytes with p.
func (p Principal) Clone() Principal {
	next := Principal{Type: p.Type, Realm: bytes.Clone(p.Realm), Components: make([][]byte, len(p.Components))}
	for i, component := range p.Components {
		next.Components[i] = bytes.Clone(component)
	}
	return next
}

// Equal reports whether p and q name the same: realm and components agree
// byte for byte. The name type is a hint and not part of the name (RFC 4120 §6.2).
func (p Principal) Equal(q Principal) bool {
	return bytes.Equal(p.Realm, q.Realm) && p.EqualInAnyRealm(q)
}

// EqualInAnyRealm reports whether the components of p and q agree.
func (p Principal) EqualInAnyRealm(q Principal) bool {
	if len(p.Components) != len(q.Components) {
		return false
	}
	for i := range p.Components {
		if !bytes.Equal(p.Components[i], q.Components[i]) {
			return false
		}
	}
	return true
}

// IsTGS reports whether p is the ticket-granting service of its own realm,
// krbtgt/REALM@REALM.
func (p Principal) IsTGS() bool {
	return len(p.Components) == 2 && string(p.Components[0]) == "krbtgt" && bytes.Equal(p.Components[1], p.Realm)
}

// TGS returns the ticket-granting service of a realm as another realm's KDC
// knows it, krbtgt/REALM@BY (RFC 4120 §7.3).
func TGS(realm, by string) Principal {
	const serviceInstance = 2 // NT-SRV-INST, RFC 4120 §6.2
	return Principal{Type: serviceInstance, Realm: []byte(by), Components: [][]byte{[]byte("krbtgt"), []byte(realm)}}
}

// GrantsTickets reports whether p is the ticket-granting service of any realm,
// so that who holds a ticket for it can get others.
func (p Principal) GrantsTickets() bool {
	return len(p.Components) == 2 && string(p.Components[0]) == "krbtgt"
}

// IsConfig reports whether p is the server of a configuration entry: such an
// entry holds a setting of the client library where a credential has its
// ticket (krb5's doc/formats/ccache_file_format, "Credential cache
// configuration entries").
func (p Principal) IsConfig() bool {
	return string(p.Realm) == "X-CACHECONF:" && len(p.Components) > 0 && string(p.Components[0]) == "krb5_ccache_conf_data"
}

var principalEscapes = strings.NewReplacer(
	`\`, `\\`, "/", `\/`, "@", `\@`, "\x00", `\0`, "\n", `\n`, "\t", `\t`, "\b", `\b`)

// String returns the text krb5 gives a principal, with its escapes.
func (p Principal) String() string {
	var text strings.Builder
	for i, component := range p.Components {
		if i > 0 {
			text.WriteByte('/')
		}
		text.WriteString(principalEscapes.Replace(string(component)))
	}
	text.WriteByte('@')
	text.WriteString(principalEscapes.Replace(string(p.Realm)))
	return text.String()
}
