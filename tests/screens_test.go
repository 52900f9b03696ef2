package tests

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gosssd/kcm/protocol"
)

// What README.md shows of sssctl stands between these lines.
const (
	screensBegin = "<!-- screens: written by make screens -->\n"
	screensEnd   = "<!-- end of screens -->\n"
)

// TestTheScreensOfREADMEAreWhatIsPrinted runs the commands in a terminal of 80
// columns. Numbers, times and what depends on them may differ. With
// GOSSSD_SCREENS=yes, as make screens sets it, README.md is written anew.
func TestTheScreensOfREADMEAreWhatIsPrinted(t *testing.T) {
	t.Parallel()
	needRoot(t)
	needProgram(t, "klist")
	got := screens(t)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(readme), screensBegin)
	shown, after, ended := strings.Cut(rest, screensEnd)
	if !ok || !ended {
		t.Fatal("README.md has no screens")
	}
	if os.Getenv("GOSSSD_SCREENS") == "yes" {
		if err := os.WriteFile("../README.md", []byte(before+screensBegin+got+screensEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if shape(shown) != shape(got) {
		t.Errorf("README.md shows\n%s\nnow it is\n%s\n'make screens' writes it anew", shape(shown), shape(got))
	}
	for _, other := range []string{strings.Replace(shown, "PRINCIPAL", "OWNER", 1), strings.Replace(shown, "running", "ill", 1)} {
		if shape(other) == shape(got) {
			t.Error("any screen has this shape")
		}
	}
}

// shape is a screen without what differs from run to run.
func shape(screen string) string {
	screen = regexp.MustCompile(`\d[\d.:]*(µs|ms|s|min|h|d)?( [KMGT]?i?B\b)?|\B- (?:s|ms)`).ReplaceAllString(screen, "N")
	screen = regexp.MustCompile(`[-N]*N[-N]*( [-N]*N[-N]*)*`).ReplaceAllString(screen, "N")
	screen = regexp.MustCompile(` +`).ReplaceAllString(screen, " ")
	screen = regexp.MustCompile(`N( N)+`).ReplaceAllString(screen, "N")
	// Which operations are most frequent depends on pings.
	return regexp.MustCompile(`(?m)^([a-z]+_[a-z_]+|store) N$`).ReplaceAllString(screen, "operation N")
}

// screens is what the commands print of a system with some caches.
func screens(t *testing.T) string {
	s := newSystem(t, "").start()
	me := user(os.Getuid())
	s.ctl(me, "", "debug-level", "8", "--kcm")
	c := s.kcm()
	now := uint32(time.Now().Unix())
	for _, one := range [][2]string{{"0", "alice"}, {"0:admin", "admin"}} {
		name, owner := one[0], one[1]
		if err := c.Initialize(name, principal(owner)); err != nil {
			t.Fatal(err)
		}
		for _, service := range [][]string{{"krbtgt", "EXAMPLE.TEST"}, {"host", "www.example.test"}} {
			cred := protocol.Credential{Client: principal(owner), Server: principal(service...), Ticket: make([]byte, 600), TicketFlags: 0x50c00000,
				Times: protocol.Times{Auth: now - 5430, Start: now - 5430, End: now + 10*3600 - 60, RenewTill: now + 7*86400 - 60}}
			if err := c.Store(name, cred); err != nil {
				t.Fatal(err)
			}
		}
	}
	pid, _, _ := strings.Cut(s.sh(me, "echo $$; exec klist -A >/dev/null"), "\n")
	var all strings.Builder
	for _, args := range [][]string{{"status"}, {"ccache", "list"}, {"ccache", "show"}, {"analyze", "--pid", pid}} {
		fmt.Fprintf(&all, "```console\n# sssctl %s\n%s```\n\n", strings.Join(args, " "), s.screen(args))
	}
	fmt.Fprintf(&all, "```console\n# sssctl top\n%s```\n", s.screen([]string{"top"}, "q quit", "q"))
	return strings.ReplaceAll(all.String(), s.root, "")
}

// screen is what is seen in a terminal of 24 lines with 80 columns.
func (s *system) screen(args []string, dialogue ...string) string {
	s.t.Helper()
	term := newTerminal(s.t.(*testing.T))
	if err := unix.IoctlSetWinsize(int(term.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		s.t.Fatal(err)
	}
	earlier := s.env
	s.env = append(append([]string{}, earlier...), "TERM=xterm", "NO_COLOR=1")
	defer func() { s.env = earlier }()
	seen, code := s.ask(term, args, dialogue...)
	if code != 0 {
		s.t.Fatalf("%v: %d\n%s", args, code, seen)
	}
	if len(dialogue) > 0 {
		return drawn(seen)
	}
	return strings.NewReplacer("\r", "", "\x00", "").Replace(seen)
}

// sequence is an escape sequence of an xterm: one with parameters, a title, a
// set of characters, or another.
var sequence = regexp.MustCompile(`^\x1b(\[([0-9;?<>=]*)[ !"$']*([@-~])|\][^\x07\x1b]*(\x07|\x1b\\)|[()*+].|.)`)

// drawn is the last picture that a program has drawn before it left the screen.
func drawn(seen string) string {
	seen, _, _ = strings.Cut(seen, "\x1b[?1049l")
	var lines [24][80]rune
	picture := func() string {
		var out strings.Builder
		for _, line := range lines {
			out.WriteString(strings.TrimRight(strings.ReplaceAll(string(line[:]), "\x00", " "), " ") + "\n")
		}
		return strings.TrimRight(out.String(), "\n") + "\n"
	}
	last := ""
	x, y := 0, 0
	for seen != "" {
		if m := sequence.FindStringSubmatch(seen); m != nil {
			switch m[3] {
			case "H":
				row, column, _ := strings.Cut(m[2], ";")
				y, _ = strconv.Atoi(row)
				x, _ = strconv.Atoi(column)
				y, x = max(y-1, 0), max(x-1, 0)
			case "J":
				if now := picture(); now != "\n" {
					last = now
				}
				lines = [24][80]rune{}
			}
			seen = seen[len(m[0]):]
			continue
		}
		r := []rune(seen[:min(len(seen), 4)])[0]
		seen = seen[len(string(r)):]
		switch {
		case r == '\r':
			x = 0
		case r == '\n':
			y++
		case r >= ' ' && y < len(lines) && x < len(lines[y]):
			lines[y][x] = r
			x++
		}
	}
	if now := picture(); now != "\n" {
		last = now // else it was cleared at the end
	}
	return regexp.MustCompile(`\n{3,}`).ReplaceAllString(last, "\n\n")
}
