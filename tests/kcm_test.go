package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"gosssd/kcm/protocol"
)

// kcmClient speaks KCM as libkrb5 does: one connection, kept; when a write
// meets EPIPE it connects again, once, and sends again.
type kcmClient struct {
	socket     string
	conn       net.Conn
	reconnects int
}

func (s *system) kcm() *kcmClient {
	c := &kcmClient{socket: s.path("/var/run/.heim_org.h5l.kcm-socket")}
	s.t.Cleanup(c.reset)
	return c
}

// call sends one request and returns the results of its reply.
func (c *kcmClient) call(op protocol.Op, params []byte) ([]byte, error) {
	request := binary.BigEndian.AppendUint32(nil, uint32(4+len(params)))
	request = append(request, 2, 0, byte(op>>8), byte(op))
	request = append(request, params...)
	if err := c.send(request); err != nil {
		return nil, err
	}
	return c.receive(op)
}

func (c *kcmClient) send(request []byte) (err error) {
	if c.conn != nil {
		if _, err = c.conn.Write(request); err == nil || !errors.Is(err, syscall.EPIPE) {
			return err
		}
		c.conn.Close()
		c.reconnects++
	}
	if c.conn, err = net.Dial("unix", c.socket); err != nil {
		return err
	}
	_, err = c.conn.Write(request)
	return err
}

func (c *kcmClient) receive(op protocol.Op) ([]byte, error) {
	var header [8]byte
	if _, err := io.ReadFull(c.conn, header[:]); err != nil {
		return nil, fmt.Errorf("%v: no reply: %w", op, err)
	}
	body := make([]byte, binary.BigEndian.Uint32(header[:4]))
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return nil, fmt.Errorf("%v: half a reply: %w", op, err)
	}
	code := protocol.Code(binary.BigEndian.Uint32(header[4:]))
	if code == protocol.OK && len(body) >= 4 {
		code = protocol.Code(binary.BigEndian.Uint32(body))
		body = body[4:]
	}
	if code != protocol.OK {
		return nil, fmt.Errorf("%v: %v", op, code)
	}
	return body, nil
}

// reset drops the connection, as a new process would.
func (c *kcmClient) reset() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// principal is a principal of the test realm.
func principal(components ...string) protocol.Principal {
	p := protocol.Principal{Type: 1, Realm: []byte("EXAMPLE.TEST")}
	for _, c := range components {
		p.Components = append(p.Components, []byte(c))
	}
	return p
}

// initialize makes an empty cache for a principal.
func (c *kcmClient) initialize(name string, client protocol.Principal) error {
	_, err := c.call(protocol.OpInitialize, protocol.AppendPrincipal(protocol.AppendName(nil, name), client))
	return err
}

// store puts a ticket for the service called service into a cache.
func (c *kcmClient) store(name string, client protocol.Principal, service string) error {
	cred := protocol.Credential{
		Client: client, Server: principal("host", service),
		Key:    protocol.Keyblock{Enctype: 18, Key: make([]byte, 32)},
		Times:  protocol.Times{End: 0x7fffffff},
		Ticket: []byte("ticket for " + service),
	}
	_, err := c.call(protocol.OpStore, protocol.AppendCredential(protocol.AppendName(nil, name), cred))
	return err
}

// services returns the services that a cache holds tickets for, in order.
func (c *kcmClient) services(name string) ([]string, error) {
	body, err := c.call(protocol.OpGetCredList, protocol.AppendName(nil, name))
	if err != nil {
		return nil, err
	}
	r := protocol.NewReader(body)
	var services []string
	for range r.Uint32() {
		cred, err := protocol.ParseCredential(r.Data())
		if err != nil {
			return nil, err
		}
		services = append(services, string(cred.Server.Components[1]))
	}
	return services, r.Err()
}
