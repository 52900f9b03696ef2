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
	tailCredentials = 510
)

// tailSize is the number of bytes that credentials take with their lengths.
func tailSize(tail []entry) int {
	size := 0
	for i := range tail {
		size += lengthSize + len(tail[i].raw())
	}
	return size
}

// sendWithTail sends the reply, the credentials behind it, and what is last.
func (s *session) sendWithTail(conn stream) error {
	defer conn.Touch()
	lengths := make([]byte, 0, lengthSize*min(len(s.tail), tailCredentials))
	all := make(net.Buffers, 0, 2+2*min(len(s.tail), tailCredentials))
	head, tail := s.out, s.tail
	for {
		now := tail[:min(len(tail), tailCredentials)]
		tail = tail[len(now):]
		lengths, all = lengths[:0], append(all[:0], head)
		for i := range now {
			raw := now[i].raw()
			lengths = binary.BigEndian.AppendUint32(lengths, uint32(len(raw)))
			all = append(all, lengths[len(lengths)-lengthSize:], raw)
		}
		if len(tail) == 0 {
			all = append(all, s.last)
		}
		sending := all
		if _, err := sending.WriteTo(conn); err != nil || len(tail) == 0 {
			return err
		}
		head = nil
	}
}
