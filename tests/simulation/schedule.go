package simulation

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// move is what a step does.
type move int

const (
	ask move = iota
	decide
	pass
	crash
	failLoad
	session // of a user, begins or ends
)

// step is one step of a schedule. A step that cannot be done is left out, so
// that any part of a schedule is a schedule.
type step struct {
	move    move
	client  int
	request request
	verdict verdict
	pass    time.Duration
	bits    uint64
}

func (s step) String() string {
	switch s.move {
	case ask:
		return fmt.Sprintf("client %d: %s %s ticket %d", s.client, actionNames[s.request.action], s.request.cache, s.request.ticket)
	case session:
		return fmt.Sprintf("a login session of %d begins, or ends", s.request.uid)
	case decide:
		return fmt.Sprintf("the disk decides: %d", s.verdict)
	case pass:
		return fmt.Sprintf("%v pass", s.pass)
	case crash:
		return "the power is cut"
	}
	return "the next load fails"
}

// madeUp stands for the name that the server made up last for the user; without
// one, the client asks for it.
const madeUp = "a made up name"

// length is how many steps a schedule has.
const length = 60

// schedule returns that of a seed.
func schedule(seed uint64) []step {
	r := rand.New(rand.NewPCG(seed, 1))
	programs, caches := clients, 2
	if seed%2 == 1 { // all of one user, who meet in one cache
		programs, caches = clients/users, 1
	}
	steps := make([]step, length)
	for i := range steps {
		s := step{client: r.IntN(programs), bits: r.Uint64()}
		if programs < clients {
			s.client *= users
		}
		uid := firstID + uint32(s.client%users)
		name := fmt.Sprintf("%d:%c", uid, 'a'+r.IntN(caches))
		if caches > 1 && r.IntN(3) == 0 {
			name = madeUp
		}
		s.request = request{
			uid: uid, action: [...]action{initialize, initialize, store, store, store, destroy, list, list, newName}[r.IntN(9)],
			cache: name, ticket: i, end: int64(1+r.IntN(4)) * 3600,
		}
		s.request.tgt = strings.HasSuffix(s.request.cache, "a") && r.IntN(2) == 0 // one at most is due at a time
		s.pass = [...]time.Duration{time.Second, time.Minute, 20 * time.Minute, 2 * time.Hour}[r.IntN(4)]
		switch n := r.IntN(100); {
		case n < 48:
			s.move = ask
		case n < 88:
			s.move = decide
			if r.IntN(5) == 0 {
				s.verdict = verdict(r.IntN(int(verdicts)))
			}
		case n < 93:
			s.move = pass
		case n < 96:
			s.move = crash
		case n < 99:
			s.move = session
		default:
			s.move = failLoad
		}
		steps[i] = s
	}
	return steps
}
