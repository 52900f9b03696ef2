package main

import (
	"context"
	"os/signal"
	"syscall"

	"gosssd/layout"
)

// handleSignals serves the signals that do not end sssd.
func (m *monitor) handleSignals(ctx context.Context) {
	m.notifySignals()
	defer signal.Stop(m.signals)
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-m.signals:
			if s != syscall.SIGHUP {
				m.log.Info("a signal without meaning here is ignored", "signal", s)
				continue
			}
			if err := m.rotateLogs(ctx); err != nil {
				m.log.Error("logs are not rotated everywhere", "error", err)
			}
			m.log.Info("SIGHUP rotates logs; configuration is read only when " + layout.Current().Monitor + " starts")
		}
	}
}

func (m *monitor) notifySignals() {
	signal.Notify(m.signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
}
