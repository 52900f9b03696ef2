package main

import (
	"errors"
	"os/exec"

	"gosssd/layout"
	"gosssd/responder"
	"gosssd/responder/metric"
	"gosssd/sbus"
)

// cause is why a process has ended, as metrics name it.
type cause string

const (
	causeExit         cause = "exit"         // by itself and in order, as when it was idle
	causeFailure      cause = "failure"      // by itself, with another exit code than 0, or it was not executed
	causeSignal       cause = "signal"       // by a signal that was not the monitor's
	causeUnregistered cause = "unregistered" // it did not register in time
	causeHung         cause = "hung"         // it did not answer pings
	causeLeft         cause = "left"         // it left the private bus
	causeSocket       cause = "socket"       // its socket was deleted
	causeReplaced     cause = "replaced"     // it ran from before this start of the monitor
	causeAsked        cause = "asked"        // the monitor ends
	causeUnknown      cause = "unknown"      // it was not a child of this process
)

var causes = []cause{causeExit, causeFailure, causeSignal, causeUnregistered, causeHung, causeLeft, causeSocket, causeReplaced, causeAsked, causeUnknown}

// blame counts why the monitor ends a process, which need not be the present one.
func (s *service) blame(pid int, why cause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if pid == s.pid {
		s.cause = why
	}
	s.countCause(why)
}

// countEnd counts how the process has ended, unless the monitor has ended it, which
// was counted then. The caller holds mu.
func (s *service) countEnd(err error) {
	why := causeExit
	if err != nil {
		why = causeFailure
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && !exit.Exited() {
			why = causeSignal
		}
	}
	s.countEndBy(why)
}

// countEndBy is the same with a cause. The caller holds mu.
func (s *service) countEndBy(why cause) {
	if s.cause == "" {
		s.countCause(why)
	}
	s.cause = ""
}

func (s *service) countCause(why cause) {
	if s.ends == nil {
		s.ends = map[cause]uint64{}
	}
	s.ends[why]++
}

func (s *service) countPing(answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answered {
		s.pings.answered++
	} else {
		s.pings.missed++
	}
}

// pings counts those that a responder was sent.
type pings struct{ answered, missed uint64 }

// states are those of a service, as metrics name them.
var states = []struct{ state, name string }{
	{sbus.StateIdle, "idle"}, {sbus.StateStarting, "starting"}, {sbus.StateRunning, "running"}, {sbus.StateEnding, "ending"}, {sbus.StateBackOff, "backoff"},
}

// metrics tell of the monitor and of what it supervises.
func (m *monitor) metrics() []metric.Family {
	state := metric.Family{Name: "gosssd_service_state", Kind: metric.Gauge, Help: "1 for the state that a service is in, 0 for the others"}
	restarts := metric.Family{Name: "gosssd_service_restarts", Kind: metric.Counter, Help: "Ends of a service that were not in order, after which the monitor starts it again"}
	ends := metric.Family{Name: "gosssd_service_ends", Kind: metric.Counter, Help: "Ends of the processes of a service, by why they have ended"}
	sent := metric.Family{Name: "gosssd_service_pings", Kind: metric.Counter, Help: "Signs of life that a service was asked for, by what came of it"}
	backOff := metric.Family{Name: "gosssd_service_backoff_seconds", Kind: metric.Gauge, Unit: metric.Seconds, Help: "How long the monitor waits before it starts a service again"}
	for _, s := range m.services {
		name := s.descriptor.Name
		wait := s.backOff()
		s.mu.Lock()
		for _, one := range states {
			in := 0.0
			if s.state == one.state {
				in = 1
			}
			state.Samples = append(state.Samples, metric.Of(in, "service", name, "state", one.name))
		}
		restarts.Samples = append(restarts.Samples, metric.Of(float64(s.restarts), "service", name))
		for _, why := range causes {
			ends.Samples = append(ends.Samples, metric.Of(float64(s.ends[why]), "service", name, "cause", string(why)))
		}
		sent.Samples = append(sent.Samples,
			metric.Of(float64(s.pings.answered), "service", name, "result", "answered"),
			metric.Of(float64(s.pings.missed), "service", name, "result", "missed"))
		s.mu.Unlock()
		backOff.Samples = append(backOff.Samples, metric.Of(wait.Seconds(), "service", name))
	}
	own := responder.ProcessMetrics(layout.Current().Monitor, m.since, m.conf.Generation)
	return append(own, state, restarts, ends, sent, backOff)
}
