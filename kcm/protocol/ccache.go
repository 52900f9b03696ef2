package protocol

import "encoding/binary"

// Credential is one ticket with its session key, or a configuration entry.
type Credential struct {
	Client, Server Principal
	Key            Keyblock
	Times          Times
	IsSkey         uint8 // not 0: encrypted in the session key of SecondTicket (user-to-user)
	TicketFlags    uint32
	Addresses      []Element
	AuthData       []Element
	Ticket         []byte
	SecondTicket   []byte
}

// Keyblock is a key and its encryption type.
type Keyblock struct {
	Enctype int16
	Key     []byte
}

// Times are the times of a ticket in seconds since 1970, read without a sign
// (until 2106); 0 means none.
type Times struct {
	Auth, Start, End, RenewTill uint32
}

// Begin is when the ticket begins: Start, or where a KDC has left that out, Auth
// (RFC 4120 §5.3).
func (t Times) Begin() uint32 {
	if t.Start == 0 {
		return t.Auth
	}
	return t.Start
}

// Element is a host address, or an element of authorization data.
type Element struct {
	Type int16
	Data []byte
}

const smallestElement = 2 + 4 // type, length

// Credential reads a credential.
func (r *Reader) Credential() Credential {
	c := Credential{
		Client:      r.Principal(),
		Server:      r.Principal(),
		Key:         r.Keyblock(),
		Times:       r.Times(),
		IsSkey:      r.Uint8(),
		TicketFlags: r.Uint32(),
		Addresses:   r.elements(),
		AuthData:    r.elements(),
		Ticket:      r.Data(),
	}
	c.SecondTicket = r.Data()
	if r.err != nil {
		return Credential{}
	}
	return c
}

// CredentialList reads a count and as many credentials, each behind its
// length, and returns their bytes, checked.
func (r *Reader) CredentialList() [][]byte {
	var list [][]byte
	for n := r.Uint32(); n > 0 && r.err == nil; n-- {
		raw := r.Data()
		if _, err := ParseCredential(raw); err != nil {
			r.fail()
			return nil
		}
		list = append(list, raw)
	}
	return list
}

// AppendCredentialList appends what CredentialList reads.
func AppendCredentialList(b []byte, list [][]byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	for _, raw := range list {
		b = AppendData(b, raw)
	}
	return b
}

// ParseCredential reads b, which must be one credential and nothing else.
func ParseCredential(b []byte) (Credential, error) {
	r := NewReader(b)
	c := r.Credential()
	if r.err == nil && len(r.rest) > 0 {
		r.fail()
	}
	if r.err != nil {
		return Credential{}, r.err
	}
	return c, nil
}

// AppendCredential appends c.
func AppendCredential(b []byte, c Credential) []byte {
	b = AppendPrincipal(b, c.Client)
	b = AppendPrincipal(b, c.Server)
	b = AppendKeyblock(b, c.Key)
	b = AppendTimes(b, c.Times)
	b = append(b, c.IsSkey)
	b = binary.BigEndian.AppendUint32(b, c.TicketFlags)
	b = appendElements(b, c.Addresses)
	b = appendElements(b, c.AuthData)
	b = AppendData(b, c.Ticket)
	return AppendData(b, c.SecondTicket)
}

// Keyblock reads a key; version 4 has its encryption type once.
func (r *Reader) Keyblock() Keyblock {
	return Keyblock{Enctype: int16(r.Uint16()), Key: r.Data()}
}

// AppendKeyblock appends k.
func AppendKeyblock(b []byte, k Keyblock) []byte {
	return AppendData(binary.BigEndian.AppendUint16(b, uint16(k.Enctype)), k.Key)
}

// Times reads four times.
func (r *Reader) Times() Times {
	return Times{Auth: r.Uint32(), Start: r.Uint32(), End: r.Uint32(), RenewTill: r.Uint32()}
}

// AppendTimes appends t.
func AppendTimes(b []byte, t Times) []byte {
	b = binary.BigEndian.AppendUint32(b, t.Auth)
	b = binary.BigEndian.AppendUint32(b, t.Start)
	b = binary.BigEndian.AppendUint32(b, t.End)
	return binary.BigEndian.AppendUint32(b, t.RenewTill)
}

func (r *Reader) elements() []Element {
	n := r.count(smallestElement)
	if n == 0 {
		return nil
	}
	elements := make([]Element, 0, n)
	for ; n > 0 && r.err == nil; n-- {
		elements = append(elements, Element{Type: int16(r.Uint16()), Data: r.Data()})
	}
	return elements
}

func appendElements(b []byte, elements []Element) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(elements)))
	for _, e := range elements {
		b = AppendData(binary.BigEndian.AppendUint16(b, uint16(e.Type)), e.Data)
	}
	return b
}
