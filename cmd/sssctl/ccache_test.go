package main

import (
	"errors"
	"fmt"
	"testing"

	"gosssd/sbus"
)

// TestTheEndOfTheResponderEndsAMove guards that the users who are left are not
// tried, and told of, one by one.
func TestTheEndOfTheResponderEndsAMove(t *testing.T) {
	for _, err := range []error{sbus.ErrClosed, fmt.Errorf("call: %w", sbus.ErrClosed), sbus.Errorf(sbus.ErrorNoReply, "x"), sbus.Errorf(sbus.ErrorServiceUnknown, "x")} {
		if !errors.Is(plain(err), errEnded) {
			t.Errorf("%v becomes %v", err, plain(err))
		}
	}
	if err := plain(sbus.Errorf(sbus.ErrorFailed, "the disk is full")); errors.Is(err, errEnded) || err.Error() != "the disk is full" {
		t.Errorf("another error becomes %v", err)
	}
	if plain(nil) != nil {
		t.Error("no error becomes one")
	}
}
