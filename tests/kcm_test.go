package tests

import (
	"gosssd/kcm/client"
	"gosssd/kcm/protocol"
)

// kcmClient is a client with what the tests do again and again.
type kcmClient struct{ *client.Client }

func (s *system) kcm() *kcmClient { return s.kcmAt(sockets["sssd_kcm"]) }

// kcmAt is a client of a socket below the root.
func (s *system) kcmAt(socket string) *kcmClient {
	c := &kcmClient{client.New(s.path(socket), patience)}
	s.t.Cleanup(c.reset)
	return c
}

// reset drops the connection, as the end of a program would.
func (c *kcmClient) reset() { _ = c.Close() }

// principal is a principal of the test realm.
func principal(components ...string) protocol.Principal {
	p := protocol.Principal{Type: 1, Realm: []byte("EXAMPLE.TEST")}
	for _, c := range components {
		p.Components = append(p.Components, []byte(c))
	}
	return p
}

// store puts a ticket for the service called service into a cache.
func (c *kcmClient) store(name string, client protocol.Principal, service string) error {
	return c.Store(name, protocol.Credential{
		Client: client, Server: principal("host", service),
		Key:    protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)},
		Times:  protocol.Times{End: 0x7fffffff},
		Ticket: []byte("ticket for " + service),
	})
}

// services returns the services that a cache holds tickets for, in order.
func (c *kcmClient) services(name string) ([]string, error) {
	credentials, err := c.Credentials(name)
	var services []string
	for _, credential := range credentials {
		services = append(services, string(credential.Server.Components[1]))
	}
	return services, err
}
