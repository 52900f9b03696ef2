package simulation

import (
	"fmt"
	"os"
	"sync"

	"gosssd/kcm"
	"gosssd/kcm/logins"
	"gosssd/linux"
)

// sessions are the login sessions of all users, who have one at most at a time.
// They outlive the server's processes.
type sessions struct {
	planted fault

	mu      sync.Mutex
	current map[uint32]int // by uid; 0: none
	begun   map[uint32]int // how many each had
	news    []chan uint32  // of processes
}

func newSessions(planted fault) *sessions {
	return &sessions{planted: planted, current: map[uint32]int{}, begun: map[uint32]int{}}
}

// toggle begins a session of a user, or ends the one there is.
func (s *sessions) toggle(uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current[uid] == 0 {
		s.begun[uid]++
		s.current[uid] = s.begun[uid]
		return
	}
	s.current[uid] = 0
	for _, news := range s.news {
		news <- uid
	}
}

// end ends all sessions, and reports whether there have been any.
func (s *sessions) end() (had bool) {
	for i := range users {
		uid := firstID + uint32(i)
		current, over := s.of(uid)
		if current != 0 {
			s.toggle(uid)
		}
		had = had || current != 0 || over != 0
	}
	return had
}

// of returns the session of a user, 0 if there is none, and the last that is
// over.
func (s *sessions) of(uid uint32) (current, over int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if current = s.current[uid]; current != 0 {
		return current, current - 1
	}
	return 0, s.begun[uid]
}

// process returns this one for each client that is in a session: the kernel knows no other.
func (s *sessions) process(uid uint32) (*linux.Process, error) {
	if current, _ := s.of(uid); current == 0 {
		return nil, os.ErrProcessDone
	}
	return linux.OpenProcess(os.Getpid())
}

// sight is what one process of the server sees of the sessions.
type sight struct {
	*sessions
	news chan uint32
}

var _ kcm.Sessions = sight{}

// open returns the sessions as a new process of the server sees them.
func (s *sessions) open() (kcm.Sessions, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := make(chan uint32, 2*length) // more than there are ends
	s.news = append(s.news, news)
	return sight{s, news}, nil
}

func (s sight) Place(_ *linux.Process, uid uint32) logins.Place {
	current, _ := s.of(uid)
	if current == 0 {
		return logins.Place{}
	}
	return logins.Place{Session: sessionOf(uid, current), User: logins.Session{Group: 1, UID: uid}}
}

func sessionOf(uid uint32, number int) logins.Session {
	return logins.Session{Group: uint64(1 + number), UID: uid, Name: fmt.Sprint(number)}
}

func (s sight) Ended(session logins.Session) bool {
	_, over := s.of(session.UID)
	return (int(session.Group)-1 <= over || s.planted == tooSoon) && s.planted != endless
}

func (s sight) Follow(uint32) error { return nil }

func (s sight) Next() (uid uint32, open bool) {
	uid, open = <-s.news
	return uid, open
}

// Close ends Next; of what ends later this process is not told.
func (s sight) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, news := range s.sessions.news {
		if news == s.news {
			s.sessions.news = append(s.sessions.news[:i], s.sessions.news[i+1:]...)
			close(news)
		}
	}
	return nil
}
