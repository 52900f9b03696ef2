package kcm

import (
	"context"

	"gosssd/kcm/protocol"
)

// The operations by which a client has a ticket got and stored. Heimdal has them
// since KCM began, and no client library sends them by itself.

// The options of GET_TICKET that are served. Heimdal counts the bits of RFC 4120
// §5.4.1 from the lowest one.
const (
	heimdalForwardable  = 1 << 1
	heimdalForwarded    = 1 << 2
	heimdalProxiable    = 1 << 3
	heimdalRenewable    = 1 << 8
	heimdalCanonicalize = 1 << 15
	heimdalServed       = heimdalForwardable | heimdalForwarded | heimdalProxiable | heimdalRenewable | heimdalCanonicalize
)

// getTicket gets a ticket for a service by means of the cache's TGT.
func (s *session) getTicket(ctx context.Context) error {
	o := s.server.obtaining
	if o == nil {
		return errUnsupported
	}
	name := s.nameParam(ctx)
	options, enctype := s.in.Uint32(), s.in.Int32()
	server := s.in.Principal().Clone()
	owner, c, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if options&^heimdalServed != 0 || enctype != 0 {
		return errUnsupported
	}
	tgt := c.granting(server.Realm, s.server.now())
	if tgt == nil {
		return errNoTGT
	}
	_, err = o.ticket(ctx, s, owner, c, tgt, Wanted{Server: server, Forwarded: options&heimdalForwarded != 0})
	return err
}

// getInitialTicket gets the first ticket of the cache's principal by the key
// that the client gives. The key is not kept.
func (s *session) getInitialTicket(ctx context.Context) error {
	o := s.server.obtaining
	if o == nil {
		return errUnsupported
	}
	name := s.nameParam(ctx)
	var server protocol.Principal
	if s.in.Uint8() != 0 {
		server = s.in.Principal().Clone()
	}
	given := s.in.Keyblock()
	key := protocol.Keyblock{Enctype: given.Enctype, Key: clone(given.Key)}
	owner, c, err := s.find(ctx, name)
	if err != nil {
		return err
	}
	if c.principal == nil {
		return errNoPrincipal
	}
	_, err = o.initial(ctx, s, owner, c, server, key)
	return err
}
