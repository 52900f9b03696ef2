package engine

import (
	"strings"
	"testing"
	"time"
)

func TestAnEngineTellsWhatItTakesAndHowLongItsDiskTakes(t *testing.T) {
	opts := testOptions()
	var synced, stored int
	opts.NoSync = false
	opts.Synced, opts.Stored = func(time.Duration) { synced++ }, func(time.Duration) { stored++ }
	e := newEngine(t, opts)
	put(t, e, false, map[string]string{"aaaa1": strings.Repeat("x", 5000)})
	s, err := e.Sizes()
	if err != nil {
		t.Fatal(err)
	}
	if s.JournalUsed < 5000 || s.Journal != usualJournal || s.Database == 0 || s.Free == 0 || s.Tight {
		t.Errorf("with a change in the journal: %+v", s)
	}
	before := stored
	put(t, e, true, map[string]string{"aaaa1": ""})
	if s, _ = e.Sizes(); s.JournalUsed != 0 || synced != 1 || stored == before {
		t.Errorf("after a change that is made alone: %+v, %d waits for the journal, %d transactions", s, synced, stored)
	}
}
