package responder

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"gosssd/responder/log"
	"gosssd/sbus"
)

func TestSignalsThatSayNothingNewAreLeftOut(t *testing.T) {
	var d signalQueue
	for i, s := range []string{"Changed 1", "Changed 2", "Changed 1", "Destroyed 1", "Destroyed 1", "Changed 1", "Changed 2", "Changed 1"} {
		var member string
		var uid uint32
		if _, err := fmt.Sscan(s, &member, &uid); err != nil {
			t.Fatal(err)
		}
		if first := d.add(waitingSignal{member, []any{uid, "name"}}); first != (i == 0) {
			t.Errorf("signal %d: first is %v", i, first)
		}
	}
	var sent []string
	for _, s := range d.take() {
		sent = append(sent, fmt.Sprint(s.member, " ", s.values[0]))
	}
	if got := fmt.Sprint(sent); got != "[Changed 1 Changed 2 Destroyed 1 Changed 1 Changed 2]" {
		t.Errorf("sent %v", got)
	}
	if len(d.take()) > 0 || !d.add(waitingSignal{member: "Changed"}) {
		t.Error("signals that were taken wait still")
	}
}

func TestSignalsThatCannotBeComparedAreAllSent(t *testing.T) {
	var d signalQueue
	for range 2 {
		d.add(waitingSignal{"Many", []any{"1", "2", "3", "4", "5"}})
		d.add(waitingSignal{"Many", []any{[]string{"a list"}}})
	}
	if got := len(d.take()); got != 4 {
		t.Errorf("%d of 4 signals are sent", got)
	}
}

func TestSignalsAreBounded(t *testing.T) {
	var d signalQueue
	for i := range uint32(2 * maxWaiting) {
		d.add(waitingSignal{"Changed", []any{i}})
	}
	if got := len(d.take()); got != maxWaiting {
		t.Errorf("%d signals wait, want %d", got, maxWaiting)
	}
}

// A signal that the descriptor does not declare cannot be sent; it is said so
// instead of being lost in silence.
func TestASignalOutsideOfTheDescriptorIsToldOf(t *testing.T) {
	var b bytes.Buffer
	a := &attachment{log: log.To(&b, log.Default), signals: []sbus.Signal{{Name: "Greeted", Args: []sbus.Arg{{Name: "uid", Type: "u"}}}}}
	a.conn.Store(&sbus.Conn{})
	a.emit("Gone", uint32(1))
	if got := b.String(); !strings.Contains(got, "member=Gone") {
		t.Errorf("got %q", got)
	}
	if got := len(a.queue.take()); got != 0 {
		t.Errorf("%d signals wait", got)
	}
}

// BenchmarkSignals adds as many different signals as may wait.
func BenchmarkSignals(b *testing.B) {
	signals := make([]waitingSignal, maxWaiting)
	for i := range signals {
		signals[i] = waitingSignal{"CacheChanged", []any{uint32(1000), fmt.Sprintf("1000:%d", i), "user@REALM"}}
	}
	for b.Loop() {
		var d signalQueue
		for _, s := range signals {
			d.add(s)
		}
	}
}
