package protocol

import "encoding/binary"

// Credtag describes the credentials a client looks for: Present says which
// fields it gives, the times, IsSkey and TicketFlags are always there.
type Credtag struct {
	Present Present
	Credential
}

// Present is the first word of a credtag.
type Present uint32

// The fields a credtag may leave out. Unknown bits are kept and mean nothing.
const (
	HasClient       Present = 1 << 0
	HasServer       Present = 1 << 1
	HasKey          Present = 1 << 2
	HasTicket       Present = 1 << 3
	HasSecondTicket Present = 1 << 4
	HasAuthData     Present = 1 << 5
	HasAddresses    Present = 1 << 6
)

func (t *Credtag) has(field Present) bool { return t.Present&field != 0 }

// Credtag reads a credtag.
func (r *Reader) Credtag() Credtag {
	t := Credtag{Present: Present(r.Uint32())}
	if t.has(HasClient) {
		t.Client = r.Principal()
	}
	if t.has(HasServer) {
		t.Server = r.Principal()
	}
	if t.has(HasKey) {
		t.Key = r.Keyblock()
	}
	t.Times = r.Times()
	t.IsSkey = r.Uint8()
	t.TicketFlags = r.Uint32()
	if t.has(HasAddresses) {
		t.Addresses = r.elements()
	}
	if t.has(HasAuthData) {
		t.AuthData = r.elements()
	}
	if t.has(HasTicket) {
		t.Ticket = r.Data()
	}
	if t.has(HasSecondTicket) {
		t.SecondTicket = r.Data()
	}
	if r.err != nil {
		return Credtag{}
	}
	return t
}

// AppendCredtag appends t.
func AppendCredtag(b []byte, t Credtag) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(t.Present))
	if t.has(HasClient) {
		b = AppendPrincipal(b, t.Client)
	}
	if t.has(HasServer) {
		b = AppendPrincipal(b, t.Server)
	}
	if t.has(HasKey) {
		b = AppendKeyblock(b, t.Key)
	}
	b = AppendTimes(b, t.Times)
	b = append(b, t.IsSkey)
	b = binary.BigEndian.AppendUint32(b, t.TicketFlags)
	if t.has(HasAddresses) {
		b = appendElements(b, t.Addresses)
	}
	if t.has(HasAuthData) {
		b = appendElements(b, t.AuthData)
	}
	if t.has(HasTicket) {
		b = AppendData(b, t.Ticket)
	}
	if t.has(HasSecondTicket) {
		b = AppendData(b, t.SecondTicket)
	}
	return b
}
