package top

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gdamore/tcell/v2"
)

var start = time.Unix(1772366400, 0)

func states() (first, second State) {
	users := func(more uint64) []User {
		return []User{
			{UID: 1000, Name: "ann", Caches: 3, Credentials: 9, Bytes: 2 << 20, Requests: 10 + more, Fullness: 0.25},
			{UID: 1001, Name: "ben", Caches: 7, Credentials: 8, Bytes: 1 << 10, Requests: 90, Unserved: 4, Fullness: 0.9},
			{UID: 65001, Caches: 1, Credentials: 1, Bytes: 5, Requests: 50 + 2*more},
		}
	}
	return State{At: start, Head: "sssd_kcm", Users: users(0)}, State{At: start.Add(2 * time.Second), Head: "sssd_kcm", Users: users(20)}
}

// order returns the first words of the rows.
func order(v *view) string {
	var names []string
	lines, head := v.lines(24)
	for _, line := range lines[head+1 : len(lines)-1] {
		if words := strings.Fields(line); len(words) > 0 {
			names = append(names, words[0])
		}
	}
	return strings.Join(names, " ")
}

func TestKeysSortAndFilter(t *testing.T) {
	t.Parallel()
	first, second := states()
	v := &view{}
	v.update(first)
	v.update(second)
	for key, want := range map[rune]string{'c': "ben ann 65001", 'b': "ann ben 65001", 'r': "65001 ann ben", 't': "ben 65001 ann", 'e': "ben ann 65001", 'f': "ben ann 65001"} {
		v.press(tcell.KeyRune, key)
		if got := order(v); got != want {
			t.Errorf("%c: %s, want %s", key, got, want)
		}
	}
	for _, r := range "/be" {
		v.press(tcell.KeyRune, r)
	}
	if got := order(v); got != "ben" {
		t.Errorf("with a filter: %s", got)
	}
	v.press(tcell.KeyBackspace2, 0)
	v.press(tcell.KeyEnter, 0)
	if v.press(tcell.KeyRune, 'c'); order(v) != "ben" || v.filter != "b" {
		t.Errorf("after Enter: %q, %s", v.filter, order(v))
	}
	v.press(tcell.KeyEscape, 0)
	if got := order(v); got != "ben ann 65001" {
		t.Errorf("after Escape: %s", got)
	}
	if !v.press(tcell.KeyRune, 'q') || !v.press(tcell.KeyCtrlC, 0) {
		t.Error("it cannot be left")
	}
}

func TestAFailureIsShownAndRowsStay(t *testing.T) {
	t.Parallel()
	v := &view{}
	first, _ := states()
	v.update(first)
	v.update(State{Err: errors.New("sssd_kcm has ended")})
	if lines, _ := v.lines(24); !strings.Contains(lines[1], "not new: sssd_kcm has ended") || order(v) == "" {
		t.Errorf("%q", lines)
	}
}

// TestTheScreenFits draws many users at sizes down to nothing.
func TestTheScreenFits(t *testing.T) {
	t.Parallel()
	v := &view{}
	many := State{At: start, Head: "sssd_kcm"}
	for i := range uint32(1000) {
		many.Users = append(many.Users, User{UID: i, Name: strings.Repeat("long", 10), Bytes: 1 << 40, Requests: 1 << 30})
	}
	v.update(many)
	for _, size := range [][2]int{{80, 24}, {40, 5}, {1, 1}, {0, 0}, {200, 60}} {
		s := tcell.NewSimulationScreen("UTF-8")
		if err := s.Init(); err != nil {
			t.Fatal(err)
		}
		s.SetSize(size[0], size[1])
		for range 3 {
			v.draw(s)
			v.press(tcell.KeyPgDn, 0)
		}
		s.Fini()
	}
	lines, _ := v.lines(24)
	for _, line := range lines {
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	v.press(tcell.KeyRune, 'h')
	if lines, _ := v.lines(24); len(lines) > 24 || !strings.Contains(strings.Join(lines, "\n"), "quit") {
		t.Errorf("the help: %q", lines)
	}
}

func TestRunEndsWithAKeyAndWithItsContext(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"q", "context"} {
		s := tcell.NewSimulationScreen("UTF-8")
		if err := s.Init(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		reads, ended := make(chan int, 1000), make(chan struct{})
		go func() {
			defer close(ended)
			Run(ctx, s, time.Millisecond, func() State {
				select {
				case reads <- 1:
				default:
				}
				return State{At: start, Head: "sssd_kcm"}
			})
		}()
		<-reads
		<-reads
		if end == "q" {
			s.InjectKey(tcell.KeyRune, 'q', tcell.ModNone)
		} else {
			cancel()
		}
		<-ended
		cancel()
		s.Fini()
	}
}
