package responder

import (
	"fmt"

	"golang.org/x/sys/unix"

	"gosssd/responder/log"
)

// Descriptors are shared between users: as long as there are enough, everybody
// gets as many connections as he makes. When they run short, for each new
// connection one of the user who has most goes, the one that has been silent
// longest. So nobody can keep others out, and who has few connections loses
// none.

// fdReserve is how many descriptors are kept for other uses than clients: up to
// 32 connections of kcm to the secrets service, files, sockets, and those that
// are about to be closed. It is less where there are few descriptors at all.
const fdReserve = 64

// closing is how many connections that were told to end may be open beyond the
// room for clients. They are part of the reserve.
const closing = 8

// minDescriptors is what a responder cannot do without.
const minDescriptors = 64

// roomFor is how many connections a limit of descriptors suffices for.
func roomFor(fdLimit int) int { return fdLimit - min(fdReserve, fdLimit*3/4) }

// makeRoom ends a connection, so that a user may have one more. The caller
// holds mu.
func (s *server) makeRoom(uid uint32) bool {
	victim := s.victim(s.greediest(uid))
	if victim != nil {
		victim.Log.Warn("descriptors run short, the user with the most connections loses the one that has been silent longest",
			"uid", victim.Peer.UID, "pid", victim.Peer.PID, "program", victim.Peer.Program(), "connections", s.staying[victim.Peer.UID])
		s.evicted++
		s.end(victim)
	}
	if s.open < s.room+closing {
		return victim != nil
	}
	// Those that should have ended do not: their answers wait for something.
	return s.cutOldest()
}

// shrink ends a connection of the user who has most, where there are more
// descriptors in use than there are to be had.
func (s *server) shrink() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if victim := s.victim(s.greediest(noUser)); victim != nil {
		s.evicted++
		s.end(victim)
	}
}

// noUser is (uid_t) -1, which nobody has.
const noUser = 1<<32 - 1

// greediest returns whose connection goes when uid wants one more: the user
// with the most, unless uid would then have as many. The caller holds mu.
func (s *server) greediest(uid uint32) uint32 {
	greediest, most := uid, 0
	for other, n := range s.staying {
		if n > most {
			greediest, most = other, n
		}
	}
	if own := s.staying[uid]; own > 0 && most <= own+1 {
		return uid
	}
	return greediest
}

// victim returns the connection of a user that has been silent longest. The
// caller holds mu.
func (s *server) victim(uid uint32) *Conn {
	return s.oldest(func(c *Conn) bool { return c.Peer.UID == uid && !c.ending })
}

// cutOldest closes a connection that was told to end. The caller holds mu.
func (s *server) cutOldest() bool {
	c := s.oldest(func(c *Conn) bool { return c.ending && !c.closed })
	if c == nil {
		return false
	}
	s.close(c)
	return true
}

func (s *server) oldest(of func(*Conn) bool) (oldest *Conn) {
	for c := range s.conns {
		if of(c) && (oldest == nil || c.lastActive.Load() < oldest.lastActive.Load()) {
			oldest = c
		}
	}
	return oldest
}

// end tells a connection to end: reading is shut, so that a request on its
// way is answered and the client's next one fails before it is sent. The caller
// holds mu.
func (s *server) end(c *Conn) {
	if !c.ending {
		s.uncount(c)
		_ = c.CloseRead() // the client may have closed it
	}
}

// uncount counts a connection no longer among those that stay. The caller holds
// mu.
func (s *server) uncount(c *Conn) {
	if c.ending {
		return
	}
	c.ending = true
	if s.staying[c.Peer.UID]--; s.staying[c.Peer.UID] == 0 {
		delete(s.staying, c.Peer.UID)
	}
}

// close gives the descriptor of a connection back. The caller holds mu.
func (s *server) close(c *Conn) {
	if c.closed {
		return
	}
	c.closed = true
	s.open--
	_ = c.Close() // nothing is left to be written
}

// limitDescriptors applies fd_limit, as far as the hard limit allows or we may
// raise that, and returns what is in force.
func limitDescriptors(want int64, logger *log.Logger) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	hard := limit.Max
	limit.Cur = uint64(want)
	limit.Max = max(limit.Max, limit.Cur)
	err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if err == nil {
		return int(limit.Cur), nil
	}
	if hard < minDescriptors {
		return 0, fmt.Errorf("the hard limit of open files is %d, and cannot be raised (%w); at least %d are needed: see ulimit -Hn, or LimitNOFILE of the unit", hard, err, minDescriptors)
	}
	logger.Error("fd_limit is not in force, the hard limit of open files is lower: see ulimit -Hn, or LimitNOFILE of the unit",
		"fd_limit", want, "limit", hard)
	limit.Cur, limit.Max = hard, hard
	return int(hard), unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}
