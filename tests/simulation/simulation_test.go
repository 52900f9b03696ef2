package simulation

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// histories is how many histories are tried; SIMULATION_HISTORIES asks for more.
func histories(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("SIMULATION_HISTORIES")
	if text == "" {
		return usual
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fails reports whether a schedule leads to answers that cannot be right.
func fails(t *testing.T, steps []step, planted fault) (history string, failed bool) {
	t.Helper()
	answers, trace := run(t, steps, newMemory(planted))
	return trace, !linearizable(answers)
}

// minimal leaves out steps as long as what is left fails.
func minimal(t *testing.T, steps []step, planted fault) []step {
	t.Helper()
	for size := len(steps) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(steps); {
			fewer := slices.Concat(steps[:at], steps[at+size:])
			if _, failed := fails(t, fewer, planted); failed {
				steps = fewer
			} else {
				at += size
			}
		}
	}
	return steps
}

// told writes a schedule that fails, and what came of it, for people.
func told(t *testing.T, steps []step, planted fault) string {
	t.Helper()
	var b strings.Builder
	steps = minimal(t, steps, planted)
	for _, s := range steps {
		fmt.Fprintln(&b, s)
	}
	history, _ := fails(t, steps, planted)
	return b.String() + "what the clients saw:\n" + history
}

// TestEveryAnswerCanBeRight runs a schedule for each seed. SIMULATION_SEED has
// one of them run alone.
func TestEveryAnswerCanBeRight(t *testing.T) {
	t.Parallel()
	first, count := uint64(0), histories(t)
	if text := os.Getenv("SIMULATION_SEED"); text != "" {
		var err error
		if first, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
		count = 1
	}
	answers, renewed := map[kind]int{}, 0
	for seed := first; seed < first+count; seed++ {
		steps := schedule(seed)
		history, _ := run(t, steps, newMemory(none))
		if !linearizable(history) {
			t.Fatalf("SIMULATION_SEED=%d shows answers that cannot be right:\n%s", seed, told(t, steps, none))
		}
		for _, o := range history {
			a := o.Output.(answer)
			answers[a.kind]++
			if number, _, _ := strings.Cut(a.tickets, ","); len(number) > len("999") {
				renewed++
			}
		}
	}
	t.Logf("%d histories: %d requests done, %d found no cache, %d refused, of %d it is unknown; %d lists begin with a renewed ticket", count, answers[done], answers[missing], answers[refused], answers[unknown], renewed)
	if count > 1 && (renewed == 0 || answers[done] == 0 || answers[missing] == 0 || answers[refused] == 0 || answers[unknown] == 0) {
		t.Error("some kind of answer never came")
	}
}

// TestEveryAnswerOfTheVaultCanBeRight is the same with the product's own files: each
// process opens what the one before has left when it was killed.
func TestEveryAnswerOfTheVaultCanBeRight(t *testing.T) {
	t.Parallel()
	for seed := range max(10, histories(t)/50) {
		medium := &files{base: t.TempDir()}
		_, trace := run(t, schedule(seed), newMemory(none))
		answers, same := run(t, schedule(seed), medium)
		if !linearizable(answers) {
			t.Fatalf("seed %d shows answers that cannot be right:\n%s", seed, same)
		}
		if same != trace {
			t.Errorf("seed %d: a store in memory makes\n%s\nthe vault\n%s", seed, trace, same)
		}
	}
}

// TestWhatWasFoundBefore are schedules that have shown a fault.
func TestWhatWasFoundBefore(t *testing.T) {
	t.Parallel()
	of := func(a action) request {
		return request{uid: firstID, action: a, cache: "1000:a", ticket: int(a), end: 3600}
	}
	for name, steps := range map[string][]step{
		"a cache is missing to one because another's destruction failed": {
			{move: ask, request: of(initialize)}, {move: decide}, {move: ask, request: of(store)}, {move: decide}, {move: pass, pass: life},
			{move: ask, client: 2, request: of(destroy)}, {move: ask, request: of(destroy)}, {move: decide}, {move: decide, verdict: failedAndWas},
			{move: ask, client: 2, request: of(store)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if history, failed := fails(t, steps, none); failed {
				t.Error(history)
			}
		})
	}
}

// TestTheSimulationFindsWhatIsPlanted is the control: a disk that does not keep
// its word is found by few histories, and told by few steps.
func TestTheSimulationFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	for planted, name := range map[fault]string{
		missingSync: "a missing sync", lostUpdate: "a lost update", staleRead: "a stale read", resurrected: "a destroyed cache is back",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(1000) {
				steps := schedule(seed)
				if _, failed := fails(t, steps, planted); !failed {
					continue
				}
				least := minimal(t, steps, planted)
				t.Logf("seed %d, %d steps:\n%s", seed, len(least), told(t, least, planted))
				if len(least) > 12 {
					t.Errorf("%d steps are left of %d", len(least), length)
				}
				if _, failed := fails(t, least, none); failed {
					t.Error("what is left fails without the fault too")
				}
				return
			}
			t.Error("it is not found")
		})
	}
}

// TestASeedMakesTheSameHistory: what is found once is found again.
func TestASeedMakesTheSameHistory(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		_, first := run(t, schedule(seed), newMemory(none))
		if _, second := run(t, schedule(seed), newMemory(none)); first != second {
			t.Errorf("seed %d:\n%s\nand then\n%s", seed, first, second)
		}
	}
}
