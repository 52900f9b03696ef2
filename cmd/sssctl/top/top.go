// Package top shows the users of sssd_kcm live in a terminal: who has most
// caches and bytes, and who asks for most.
package top

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gdamore/tcell/v2"

	"gosssd/cmd/sssctl/output"
)

// User is a row.
type User struct {
	UID                                            uint32
	Name                                           string // "" if it is not known
	Caches, Credentials, Bytes, Requests, Unserved uint64
	Fullness                                       float64
}

// State is what there is at a moment.
type State struct {
	At    time.Time
	Head  string // a line on the server
	Users []User
	Err   error // why there is nothing newer
}

// orders are the columns that rows can be sorted by, each with its key.
var orders = []struct {
	key  rune
	name string
	by   func(r *row) float64
}{
	{'c', "CACHES", func(r *row) float64 { return float64(r.Caches) }},
	{'b', "BYTES", func(r *row) float64 { return float64(r.Bytes) }},
	{'r', "REQ/S", func(r *row) float64 { return r.rate }},
	{'t', "REQUESTS", func(r *row) float64 { return float64(r.Requests) }},
	{'e', "UNSERVED", func(r *row) float64 { return float64(r.Unserved) }},
	{'f', "FULL", func(r *row) float64 { return r.Fullness }},
}

type row struct {
	User
	rate float64 // requests per second since the state before
}

// view is what is shown, and how.
type view struct {
	now    State
	rows   []row
	order  int
	filter string
	typing bool // the filter
	help   bool
	first  int // the row at the top
}

// update takes over a new state. One that has failed leaves the rows as they are.
func (v *view) update(next State) {
	if next.Err != nil {
		v.now.Err = next.Err
		return
	}
	before := map[uint32]uint64{}
	for _, u := range v.now.Users {
		before[u.UID] = u.Requests
	}
	elapsed := next.At.Sub(v.now.At).Seconds()
	v.rows = v.rows[:0]
	for _, u := range next.Users {
		r := row{User: u}
		if old, known := before[u.UID]; known && elapsed > 0 && u.Requests >= old {
			r.rate = float64(u.Requests-old) / elapsed
		}
		v.rows = append(v.rows, r)
	}
	v.now = next
}

// shown returns the rows in their order, without those that the filter hides.
func (v *view) shown() []row {
	var list []row
	for _, r := range v.rows {
		if strings.Contains(strconv.FormatUint(uint64(r.UID), 10), v.filter) || strings.Contains(r.Name, v.filter) {
			list = append(list, r)
		}
	}
	by := orders[v.order].by
	slices.SortFunc(list, func(a, b row) int { return cmp.Or(cmp.Compare(by(&b), by(&a)), cmp.Compare(a.UID, b.UID)) })
	return list
}

// press takes a key, and reports whether it ends the program.
func (v *view) press(key tcell.Key, r rune) (quit bool) {
	switch {
	case key == tcell.KeyCtrlC:
		return true
	case v.typing:
		v.typeFilter(key, r)
	case key == tcell.KeyDown:
		v.first++
	case key == tcell.KeyUp:
		v.first--
	case key == tcell.KeyPgDn:
		v.first += 10
	case key == tcell.KeyPgUp:
		v.first -= 10
	case key == tcell.KeyEscape:
		v.help, v.filter = false, ""
	case r == 'q':
		return true
	case r == 'h' || r == '?':
		v.help = !v.help
	case r == '/':
		v.typing, v.filter = true, ""
	default:
		for i, o := range orders {
			if o.key == r {
				v.order, v.first = i, 0
			}
		}
	}
	return false
}

func (v *view) typeFilter(key tcell.Key, r rune) {
	switch key {
	case tcell.KeyEnter:
		v.typing = false
	case tcell.KeyEscape:
		v.typing, v.filter = false, ""
	case tcell.KeyBackspace, tcell.KeyBackspace2:
		if letters := []rune(v.filter); len(letters) > 0 {
			v.filter = string(letters[:len(letters)-1])
		}
	case tcell.KeyRune:
		v.filter += string(r)
	}
}

const helpText = `Keys
  c b r t e f  sort by caches, bytes, requests per second, requests,
               unserved requests, fullness
  /            show only users whose number or name has what is typed;
               Enter ends the typing, Esc shows all
  Up Down PgUp PgDn  move
  h ?          this help, and back
  q Ctrl-C     quit`

// lines returns the screen as text. The first line that is a heading is at head.
func (v *view) lines(height int) (lines []string, head int) {
	lines = append(lines, v.now.Head)
	state := fmt.Sprintf("%d users, sorted by %s", len(v.rows), orders[v.order].name)
	if v.filter != "" || v.typing {
		state += ", with \"" + v.filter + "\""
	}
	if v.now.Err != nil {
		state = "not new: " + v.now.Err.Error()
	}
	lines = append(lines, state, "")
	if v.help {
		return append(lines, strings.Split(helpText, "\n")...), -1
	}
	head = len(lines)
	lines = append(lines, fmt.Sprintf("%-18s %7s %7s %9s %7s %10s %8s %5s", "USER", "CACHES", "CREDS", "BYTES", "REQ/S", "REQUESTS", "UNSERVED", "FULL"))
	rows := v.shown()
	space := max(height-len(lines)-1, 0)
	v.first = max(min(v.first, len(rows)-space), 0)
	for _, r := range rows[v.first:min(v.first+space, len(rows))] {
		name := []rune(r.Name)
		if len(name) == 0 {
			name = []rune(strconv.FormatUint(uint64(r.UID), 10))
		}
		lines = append(lines, fmt.Sprintf("%-18s %7d %7d %9s %7.1f %10d %8d %4.0f%%", string(name[:min(18, len(name))]),
			r.Caches, r.Credentials, output.Bytes(r.Bytes), r.rate, r.Requests, r.Unserved, 100*r.Fullness))
	}
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	return append(lines, "c b r t e f sort   / filter   h help   q quit"), head
}

func (v *view) draw(s tcell.Screen) {
	width, height := s.Size()
	s.Clear()
	lines, head := v.lines(height)
	for y, line := range lines[:min(height, len(lines))] {
		style := tcell.StyleDefault
		if y == head || y == len(lines)-1 && head >= 0 {
			style = style.Reverse(true)
		}
		x := 0
		for _, r := range line {
			if x >= width {
				break
			}
			if r < ' ' {
				r = '?'
			}
			s.SetContent(x, y, r, nil, style)
			x++
		}
	}
	s.Show()
}

// Run shows what read returns, anew after each interval, until the user or ctx
// ends it. The screen must have been initialized.
func Run(ctx context.Context, s tcell.Screen, interval time.Duration, read func() State) {
	v := &view{}
	events, quit := make(chan tcell.Event), make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ChannelEvents(events, quit)
	}()
	defer func() {
		close(quit)
		<-done
	}()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	v.update(read())
	for {
		v.draw(s)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			v.update(read())
		case e, open := <-events:
			if !open {
				return
			}
			switch e := e.(type) {
			case *tcell.EventKey:
				if v.press(e.Key(), e.Rune()) {
					return
				}
			case *tcell.EventResize:
				s.Sync()
			}
		}
	}
}
