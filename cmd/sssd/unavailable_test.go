package main

import (
	"testing"

	"gosssd/sbus"
)

// refusal answers each line.
func refusal(in []byte) ([]byte, int) {
	for i, b := range in {
		if b == '\n' {
			return []byte("unavailable\n"), i + 1
		}
	}
	return nil, 0
}

func TestClientsOfAResponderThatCannotStartGetAnError(t *testing.T) {
	patient := shortTimeouts
	patient.step, patient.longest = defaultTimeouts.longest, defaultTimeouts.longest
	for name, behaviour := range map[string]string{"it dies at once": "dies", "its program is missing": "missing"} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, behaviour, patient)
			if got := w.ask("hello"); got != "unavailable" {
				t.Errorf("answered %q", got)
			}
			status := w.await("it backs off", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateBackOff })
			if status.LastExit == "" {
				t.Error("the status does not say why")
			}
		})
	}
}

func TestClientsOfAResponderThatCrashesWaitForTheNext(t *testing.T) {
	w := watch(t, "obeys", shortTimeouts)
	for range 5 { // so that it backs off
		w.ask("hello")
		w.await("it registers", func(s sbus.ServiceStatus) bool { return s.State == sbus.StateRunning })
		w.ask("crash")
	}
	if got := w.ask("hello"); got == "unavailable" || got == "" {
		t.Errorf("answered %q", got)
	}
}

func TestAKillBeforeTheRegistrationIsNoFailureToStart(t *testing.T) {
	w := watch(t, "obeys", shortTimeouts)
	for range 5 {
		w.ask("crash") // by SIGKILL, most often before it has registered
	}
	if got := w.ask("hello"); got == "unavailable" || got == "" {
		t.Errorf("answered %q", got)
	}
}
