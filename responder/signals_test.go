package responder

import (
	"fmt"
	"testing"
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
