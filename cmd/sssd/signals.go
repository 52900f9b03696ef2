package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// handleSignals serves the signals that do not end sssd.
func (m *monitor) handleSignals(ctx context.Context) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if s != syscall.SIGHUP {
				m.log.Info("a signal without meaning here is ignored", "signal", s)
				continue
			}
			if err := m.rotateLogs(ctx); err != nil {
				m.log.Error("logs are not rotated everywhere", "error", err)
			}
			m.log.Info("SIGHUP rotates logs; configuration is read only when sssd starts")
		}
	}
}
