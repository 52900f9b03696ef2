package kcm

import (
	"context"
	"time"
)

// retrySurvey is the pause after which owners whose tickets could not be read
// at the start are looked for again.
const retrySurvey = time.Minute

// survey looks at the tickets of all users once, also of those who never come,
// so that they are renewed, told of and ended at their times.
func (s *Server) survey(ctx context.Context) {
	known := map[uint32]bool{}
	for !s.surveyOnce(ctx, known) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(retrySurvey):
		}
	}
	s.surveyed.Store(true)
}

// surveyOnce looks at the users that are not known yet, and reports whether
// all are known then.
func (s *Server) surveyOnce(ctx context.Context, known map[uint32]bool) bool {
	everyone, err := s.users.everyone(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.users.log.Error("tickets of users who have not called yet are not looked after", "error", err)
		}
		return ctx.Err() != nil
	}
	complete := true
	for _, c := range everyone {
		if known[c.uid] {
			continue
		}
		if err := s.inspect(ctx, c, func(*state) error { return nil }); err != nil {
			if ctx.Err() != nil {
				return true
			}
			s.users.log.Error("tickets of a user are not looked after until they can be read", "uid", c.uid, "error", err)
			complete = false
			continue
		}
		known[c.uid] = true
	}
	return complete
}
