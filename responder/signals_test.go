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
	var d drafts
	for i, s := range []string{"Changed 1", "Changed 2", "Changed 1", "Destroyed 1", "Destroyed 1", "Changed 1", "Changed 2", "Changed 1"} {
		var member string
		var uid uint32
		if _, err := fmt.Sscan(s, &member, &uid); err != nil {
			t.Fatal(err)
		}
		if first := d.add(notice{member, []any{uid, "name"}}); first != (i == 0) {
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
	if len(d.take()) > 0 || !d.add(notice{member: "Changed"}) {
		t.Error("signals that were taken wait still")
	}
}

func TestSignalsThatCannotBeComparedAreAllSent(t *testing.T) {
	var d drafts
	for range 2 {
		d.add(notice{"Many", []any{"1", "2", "3", "4", "5"}})
		d.add(notice{"Many", []any{[]string{"a list"}}})
	}
	if got := len(d.take()); got != 4 {
		t.Errorf("%d of 4 signals are sent", got)
	}
}

func TestSignalsAreBounded(t *testing.T) {
	var d drafts
	for i := range uint32(2 * maxDrafts) {
		d.add(notice{"Changed", []any{i}})
	}
	if got := len(d.take()); got != maxDrafts {
		t.Errorf("%d signals wait, want %d", got, maxDrafts)
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
	if got := len(a.drafts.take()); got != 0 {
		t.Errorf("%d signals wait", got)
	}
}

// BenchmarkSignals adds as many different signals as may wait.
func BenchmarkSignals(b *testing.B) {
	signals := make([]notice, maxDrafts)
	for i := range signals {
		signals[i] = notice{"CacheChanged", []any{uint32(1000), fmt.Sprintf("1000:%d", i), "user@REALM"}}
	}
	for b.Loop() {
		var d drafts
		for _, s := range signals {
			d.add(s)
		}
	}
}
