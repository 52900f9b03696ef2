package main

import (
	"encoding/binary"
	"net"
	"os"

	"gosssd/kcm/protocol"
)

// serveConstants answers every request with what a server would answer that
// holds one cache: the most that a server written in Go can reach here. It has
// no state, so stores and the like are answered and forgotten.
func serveConstants(socket string) error {
	l, err := listenConstants(socket)
	if err != nil {
		return err
	}
	return answerAll(l)
}

// listenConstants makes the socket, so that clients may come.
func listenConstants(socket string) (net.Listener, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(socket, 0o666)
}

// answerAll answers all clients.
func answerAll(l net.Listener) error {
	answers := constants()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go answerConstantly(c, answers)
	}
}

func constants() map[protocol.Op][]byte {
	var list [][]byte
	for i := range usual {
		list = append(list, ticket(i))
	}
	reply := func(results []byte) []byte { return protocol.AppendReply(nil, protocol.Reply{Results: results}) }
	return map[protocol.Op][]byte{
		protocol.OpNoop:            reply(nil),
		protocol.OpGetDefaultCache: reply(name("20001:read0")),
		protocol.OpGetPrincipal:    reply(protocol.AppendPrincipal(nil, alice)),
		protocol.OpGetCredList:     reply(protocol.AppendCredentialList(nil, list)),
	}
}

// answerConstantly counts on whole requests that arrive by themselves, as
// clients send them.
func answerConstantly(c net.Conn, answers map[protocol.Op][]byte) {
	defer c.Close()
	request := make([]byte, 64<<10)
	for {
		n, err := c.Read(request)
		if err != nil || n < 8 {
			return
		}
		answer := answers[protocol.Op(binary.BigEndian.Uint16(request[6:]))]
		if answer == nil {
			answer = answers[protocol.OpNoop]
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}
