package kdc

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"gosssd/kdc/profile"
)

// Limits of an exchange.
const (
	maxReply    = 1 << 20          // bytes; a ticket with a large PAC has some 64 KiB
	hedge       = time.Second      // until the next server is asked too
	perServer   = 10 * time.Second // until a server that is silent is given up
	maxDatagram = 65507            // bytes of a reply over UDP
	resend      = time.Second      // until a datagram is sent once more
)

// Dialer opens connections, as net.Dialer does.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

func (r *Realms) dialer() Dialer {
	if r.Dial != nil {
		return r.Dial
	}
	return &net.Dialer{}
}

// udpPreference is the size above which a request goes over TCP first.
func udpPreference(conf *profile.Profile) int {
	if n, err := strconv.Atoi(conf.Value("libdefaults", "udp_preference_limit")); err == nil && n >= 0 {
		return n
	}
	return 1465
}

// sender sends one request.
type sender struct {
	dial      Dialer
	roots     func() (*x509.CertPool, error)
	realm     string
	preferTCP bool
}

// ask asks the servers in order until accept takes a reply. A server that is
// silent for a second is not given up yet, but the next one is asked too:
// the first good reply ends the others.
func (s *sender) ask(ctx context.Context, servers []Server, request []byte, accept func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer)
	asked, ended := 0, 0
	defer func() { // no goroutine outlives the exchange
		cancel()
		for ; ended < asked; ended++ {
			<-answers
		}
	}()
	next := time.NewTimer(0)
	defer next.Stop()
	var failures error
	for ended < len(servers) {
		select {
		case <-next.C:
			if asked < len(servers) {
				go func(server Server) {
					reply, err := s.askOne(ctx, server, request)
					answers <- answer{server, reply, err}
				}(servers[asked])
				asked++
				next.Reset(hedge)
			}
		case a := <-answers:
			ended++
			if a.err == nil {
				a.err = accept(a.reply)
			}
			var refused *Refused
			if a.err == nil || errors.As(a.err, &refused) && !refused.elsewhere() {
				return a.err
			}
			failures = errors.Join(failures, fmt.Errorf("%s: %w", a.server, a.err))
			next.Reset(0)
		case <-ctx.Done():
			return &Unreachable{s.realm, errors.Join(failures, ctx.Err())}
		}
	}
	return &Unreachable{s.realm, failures}
}

type answer struct {
	server Server
	reply  []byte
	err    error
}

func (s *sender) askOne(ctx context.Context, server Server, request []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, perServer)
	defer cancel()
	switch server.Transport {
	case HTTPS:
		return s.overHTTPS(ctx, server.Address, request)
	case TCP:
		return s.overTCP(ctx, server.Address, request)
	case UDP:
		reply, err := s.overUDP(ctx, server.Address, request)
		if err == nil && tooBig(reply) {
			return s.overTCP(ctx, server.Address, request)
		}
		return reply, err
	}
	if s.preferTCP {
		reply, err := s.overTCP(ctx, server.Address, request)
		if err == nil {
			return reply, nil
		}
		reply, errUDP := s.overUDP(ctx, server.Address, request)
		if errUDP != nil {
			return nil, errors.Join(err, errUDP)
		}
		return reply, nil
	}
	reply, err := s.overUDP(ctx, server.Address, request)
	if err == nil && !tooBig(reply) {
		return reply, nil
	}
	reply, errTCP := s.overTCP(ctx, server.Address, request)
	if errTCP != nil {
		return nil, errors.Join(err, errTCP)
	}
	return reply, nil
}

// connect opens a connection that ends with the context.
func (s *sender) connect(ctx context.Context, network, address string) (net.Conn, func(), error) {
	conn, err := s.dial.DialContext(ctx, network, address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() {
		stop()
		_ = conn.Close()
	}, nil
}

// overTCP sends a request behind its length and reads a reply likewise
// (RFC 4120 §7.2.2).
func (s *sender) overTCP(ctx context.Context, address string, request []byte) ([]byte, error) {
	conn, end, err := s.connect(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer end()
	if _, err := conn.Write(framed(request)); err != nil {
		return nil, err
	}
	return readFramed(conn)
}

func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(message)), uint32(len(message))), message...)
}

// readFramed reads a message behind its length. Memory is taken for what
// comes, not for what is announced.
func readFramed(from io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(from, length[:]); err != nil {
		return nil, fmt.Errorf("length of the reply: %w", err)
	}
	size := binary.BigEndian.Uint32(length[:])
	if size == 0 || size > maxReply {
		return nil, fmt.Errorf("%w: it announces %d bytes, the limit is %d", errReply, size, maxReply)
	}
	reply, err := io.ReadAll(io.LimitReader(from, int64(size)))
	if err == nil && len(reply) < int(size) {
		err = fmt.Errorf("%w: it ends after %d of %d bytes", errReply, len(reply), size)
	}
	return reply, err
}

// overUDP sends a request as one datagram, and again each second.
func (s *sender) overUDP(ctx context.Context, address string, request []byte) ([]byte, error) {
	// Where TCP is to be tried after it, a lost datagram must not take all the time.
	ctx, cancel := context.WithTimeout(ctx, perServer/2)
	defer cancel()
	conn, end, err := s.connect(ctx, "udp", address)
	if err != nil {
		return nil, err
	}
	defer end()
	buffer := make([]byte, maxDatagram)
	for {
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		if err := conn.SetReadDeadline(time.Now().Add(resend)); err != nil {
			return nil, err
		}
		if ctx.Err() != nil { // its end may have come between
			return nil, ctx.Err()
		}
		n, err := conn.Read(buffer)
		if err == nil {
			return buffer[:n], nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w (%w)", err, ctx.Err())
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
	}
}
