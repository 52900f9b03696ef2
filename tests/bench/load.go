package main

import (
	"errors"
	"os"
	"time"
)

// load is a number of clients that do the same at the same time.
type load struct {
	scenario string
	clients  int
	users    bool          // each client is a user of its own
	fresh    bool          // a connection for each request
	rest     time.Duration // before each step, which then connects

	cache       string // "": one of each client's own
	credentials int    // in a cache that is only read
	root        bool   // as root instead
}

// firstUID is the uid of the first client.
const firstUID = 20001

func (l load) uid(client int) int {
	switch {
	case os.Getuid() != 0 || l.root:
		return os.Getuid()
	case l.users:
		return firstUID + client
	}
	return firstUID
}

// measured is what clients measured together.
type measured struct {
	steps  int
	rate   float64 // steps in a second
	times  histogram
	series []time.Duration // of every step, where the scenario keeps it
	failed error
}

// run measures for a while, or for so many steps of each client. When all are
// prepared and before they start, watch is called; what it returns is called
// when they have ended.
func (l load) run(program, socket string, d time.Duration, steps int, watch func() (unwatch func(), err error)) measured {
	workers, err := l.startWorkers(program, socket, d, steps)
	defer func() {
		for _, w := range workers {
			w.stop()
		}
	}()
	for _, w := range workers {
		if err == nil {
			err = w.ready()
		}
	}
	unwatch := func() {}
	if err == nil && watch != nil {
		unwatch, err = watch()
	}
	if err != nil {
		return measured{failed: err}
	}
	defer unwatch()
	for _, w := range workers {
		_, _ = w.start.Write([]byte{1}) // one that has failed says so in its report
	}
	return collect(workers)
}

func (l load) startWorkers(program, socket string, d time.Duration, steps int) (workers []*worker, err error) {
	for i := range l.clients {
		w, err := startWorker(program, l.uid(i), task{
			Scenario: l.scenario, Cache: l.cache, Socket: socket, Client: i,
			Fresh: l.fresh, Rest: l.rest, Duration: d, Steps: steps, Credentials: l.credentials,
		})
		if err != nil {
			return workers, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

func collect(workers []*worker) measured {
	m := measured{times: histogram{}}
	for _, w := range workers {
		r, err := w.finish()
		m.failed = errors.Join(m.failed, err)
		m.steps += r.Steps
		if r.Elapsed > 0 {
			m.rate += float64(r.Steps) / r.Elapsed.Seconds()
		}
		m.times.merge(r.Times)
		m.series = append(m.series, r.Series...)
	}
	return m
}
