package simulation

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// send sends a request and sorts what comes back.
func send(c *client.Client, r request) (a answer) {
	var err error
	switch r.action {
	case initialize:
		err = c.Initialize(r.cache, principal("user"))
	case store:
		err = c.Store(r.cache, ticket(r))
	case destroy:
		_, err = c.Call(protocol.OpDestroy, protocol.AppendName(nil, r.cache))
	case newName:
		var made []byte
		made, err = c.Call(protocol.OpGenNew)
		a.name = strings.TrimSuffix(string(made), "\x00")
	case list:
		var all []protocol.Credential
		if all, err = c.Credentials(r.cache); err == nil {
			for _, credential := range all {
				a.tickets += string(credential.Ticket) + ","
			}
		}
	}
	var refusal *client.Error
	switch {
	case err == nil:
		return a
	case !errors.As(err, &refusal):
		return answer{kind: unknown}
	}
	switch refusal.Code {
	case protocol.NoFile, protocol.NotFound:
		return answer{kind: missing}
	case protocol.DiskFull:
		return answer{kind: refused}
	}
	return answer{kind: unknown}
}

func principal(names ...string) protocol.Principal {
	p := protocol.Principal{Type: 1, Realm: []byte(realm)}
	for _, name := range names {
		p.Components = append(p.Components, []byte(name))
	}
	return p
}

// life is how long a ticket-granting ticket lasts before it must be renewed.
const life = 2 * time.Hour

func ticket(r request) protocol.Credential {
	c := protocol.Credential{
		Client: principal("user"), Server: principal("host", fmt.Sprint("h", r.ticket)),
		Key: protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)}, Ticket: fmt.Append(nil, r.ticket),
		Times: protocol.Times{Auth: uint32(r.end) - uint32(life/time.Second), End: uint32(r.end)},
	}
	c.Times.Start = c.Times.Auth
	if r.tgt {
		const renewable = 0x00800000 // RFC 4120 section 2.3
		c.Server, c.TicketFlags, c.Times.RenewTill = principal("krbtgt", realm), renewable, c.Times.End+24*3600
	}
	return c
}

// renew is the KDC. Now and then it does not answer, and at the end, when the time
// of a renewal is by chance, never.
func (w *world) renew(_ context.Context, tgt protocol.Credential, _ time.Duration) (protocol.Credential, error) {
	number, err := strconv.Atoi(string(tgt.Ticket))
	now := time.Now()
	if err != nil || (number+now.Minute())%4 == 0 || w.ending.Load() {
		return protocol.Credential{}, errors.New("no KDC answers")
	}
	tgt.Ticket = fmt.Append(nil, number+renewals)
	tgt.Times.Start, tgt.Times.End = uint32(now.Unix()), min(uint32(now.Add(life).Unix()), tgt.Times.RenewTill)
	return tgt, nil
}
