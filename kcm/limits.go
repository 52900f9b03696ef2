package kcm

import "context"

// makeRoom reserves a cache with the limits on their number, or says which
// one is reached. Expired caches go first.
func (s *Server) makeRoom(e *edit) error {
	if err := s.makeUserRoom(e); err != nil {
		return err
	}
	if limit := s.settings.Load().maxCaches; limit > 0 {
		if !s.users.census.reserve(limit) {
			return errFull
		}
		e.reserved++
	}
	return nil
}

func (s *Server) makeUserRoom(e *edit) error {
	limit := s.settings.Load().maxUserCaches
	if limit == 0 || len(e.caches) < limit {
		return nil
	}
	e.purgeCaches(s.now().Unix())
	if len(e.caches) >= limit {
		return errUserFull
	}
	return nil
}

// fit returns c as it fits into the limit on its size: if need be without
// tickets that have expired.
func (s *Server) fit(e *edit, c *cache) (*cache, error) {
	limit := s.settings.Load().maxCacheSize
	if limit == 0 || c.size <= limit {
		return c, nil
	}
	line, _ := c.lifeline()
	c, _ = e.drop(c, c.stale(line, s.now().Unix()))
	if c.size > limit {
		return nil, errCacheTooBig
	}
	return c, nil
}

// takeCensus counts the caches of all users, if there is a limit on them and
// that has not been done.
func (s *Server) takeCensus(ctx context.Context) error {
	if s.settings.Load().maxCaches == 0 || s.users.census.isComplete() {
		return nil
	}
	everyone, err := s.users.everyone(ctx)
	if err != nil {
		return err
	}
	for _, c := range everyone {
		if err := s.look(ctx, c, func(*state) error { return nil }); err != nil {
			return err
		}
	}
	s.users.census.completed()
	return nil
}
