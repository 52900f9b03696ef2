package main

import (
	"encoding/binary"
	"fmt"

	"gosssd/kcm/protocol"
)

const realm = "EXAMPLE.TEST"

// frame is a whole request.
func frame(op protocol.Op, params ...[]byte) []byte {
	var all []byte
	for _, p := range params {
		all = append(all, p...)
	}
	return protocol.AppendRequest(nil, protocol.Request{Op: op, Params: all})
}

func name(s string) []byte { return protocol.AppendName(nil, s) }

func principal(components ...string) protocol.Principal {
	p := protocol.Principal{Type: 1, Realm: []byte(realm)}
	for _, c := range components {
		p.Components = append(p.Components, []byte(c))
	}
	return p
}

var alice = principal("alice")

// ticket is a credential of about 1.2 kB for the service host/hostN.
func ticket(n int) []byte {
	return credential(principal("host", fmt.Sprintf("host%d.example.test", n)), 1000)
}

func tgt() []byte { return credential(principal("krbtgt", realm), 1000) }

// setting is a configuration entry, of which kinit stores one or two.
func setting(key, value string) []byte {
	server := principal("krb5_ccache_conf_data", key, "krbtgt/"+realm+"@"+realm)
	server.Type, server.Realm = 0, []byte("X-CACHECONF:")
	return protocol.AppendCredential(nil, protocol.Credential{Client: alice, Server: server, Ticket: []byte(value)})
}

func credential(server protocol.Principal, size int) []byte {
	return protocol.AppendCredential(nil, protocol.Credential{
		Client: alice, Server: server,
		Key:         protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)},
		Times:       protocol.Times{Auth: 1, Start: 1, End: 0x7fffffff, RenewTill: 0x7fffffff},
		TicketFlags: 0x40e10000,
		Ticket:      make([]byte, size),
	})
}

func initialize(cache string) []byte {
	return frame(protocol.OpInitialize, name(cache), protocol.AppendPrincipal(nil, alice))
}

func store(cache string, cred []byte) []byte { return frame(protocol.OpStore, name(cache), cred) }

// replace makes a cache with these credentials in one request.
func replace(cache string, creds ...[]byte) []byte {
	offset := binary.BigEndian.AppendUint32(nil, 0)
	return frame(protocol.OpReplace, name(cache), offset, protocol.AppendPrincipal(nil, alice), protocol.AppendCredentialList(nil, creds))
}
