package responder

import (
	"context"
	"time"

	"gosssd/confdb"
)

// limits are the live options about idleness. 0 is never.
type limits struct{ clientIdle, responderIdle time.Duration }

func limitsOf(section confdb.View) limits {
	seconds := func(key string) time.Duration { return time.Duration(section.Int(key)) * time.Second }
	return limits{clientIdle: seconds("client_idle_timeout"), responderIdle: seconds("responder_idle_timeout")}
}

func (s *server) setLimits(l limits) {
	s.mu.Lock()
	s.limits = l
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default: // it is to be looked at already
	}
}

// watchIdle disconnects idle clients until the context ends, or, if the
// responder may end, until it has been idle itself; it reports whether it has.
// It wakes when a limit can be reached, and not in between.
func (s *server) watchIdle(ctx context.Context, mayEnd bool) bool {
	for {
		now := time.Since(started)
		s.closeIdle(now)
		if mayEnd && s.idle(now) && s.handler.MayExit() {
			return true
		}
		wake := time.NewTimer(s.nextLook(now))
		select {
		case <-ctx.Done():
			wake.Stop()
			return false
		case <-s.changed:
			wake.Stop()
		case <-wake.C:
		}
	}
}

// forever is long enough for nothing to come of it.
const forever = 10 * 365 * 24 * time.Hour

// nextLook is how long nothing can have been idle for its limit. now is since
// started.
func (s *server) nextLook(now time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := forever
	if s.limits.clientIdle > 0 { // a client that comes later is idle later
		next = s.limits.clientIdle
		for conn := range s.conns {
			if !conn.ending {
				next = min(next, s.limits.clientIdle-(now-conn.Active()))
			}
		}
	}
	if s.limits.responderIdle > 0 {
		last := now // where clients are, or something else than idleness keeps it from ending
		if active := time.Duration(s.activity.Load()); len(s.conns) == 0 && now-active < s.limits.responderIdle {
			last = active
		}
		next = min(next, s.limits.responderIdle-(now-last))
	}
	return max(next, time.Millisecond)
}

// closeIdle disconnects the clients that have been silent for too long.
func (s *server) closeIdle(now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		if limit := s.limits.clientIdle; limit > 0 && !conn.ending && now-conn.Active() >= limit {
			conn.Log.Trace("an idle client is disconnected", "uid", conn.Peer.UID, "pid", conn.Peer.PID)
			s.end(conn)
		}
	}
}

// idle reports whether the responder has been without clients for its limit.
func (s *server) idle(now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits.responderIdle > 0 && len(s.conns) == 0 && now-time.Duration(s.activity.Load()) >= s.limits.responderIdle
}
