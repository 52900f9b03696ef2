package kcm

import (
	"encoding/binary"
	"net"
)

// Large replies are not copied together: the credentials are sent from where
// they lie, many with one system call.

const (
	lengthSize = 4
	// tailCredentials are sent at a time; with their lengths, and what comes
	// before, as much as a system call takes.
	tailCredentials = 511
)

// tailSize is the number of bytes that credentials take with their lengths.
func tailSize(tail []entry) int {
	size := 0
	for i := range tail {
		size += lengthSize + len(tail[i].raw())
	}
	return size
}

// sendWithTail sends the reply and the credentials behind it.
func (s *session) sendWithTail(conn stream) error {
	lengths := make([]byte, 0, lengthSize*min(len(s.tail), tailCredentials))
	all := make(net.Buffers, 0, 1+2*tailCredentials)
	head := s.out
	for len(s.tail) > 0 {
		now := s.tail[:min(len(s.tail), tailCredentials)]
		s.tail = s.tail[len(now):]
		lengths, all = lengths[:0], append(all[:0], head)
		for i := range now {
			raw := now[i].raw()
			lengths = binary.BigEndian.AppendUint32(lengths, uint32(len(raw)))
			all = append(all, lengths[len(lengths)-lengthSize:], raw)
		}
		sending := all
		if _, err := sending.WriteTo(conn); err != nil {
			return err
		}
		head = nil
	}
	return nil
}
