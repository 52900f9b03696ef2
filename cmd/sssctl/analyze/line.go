// Package analyze tells from the log of sssd_kcm what each client did. Package
// responder/log writes the lines, and the tests here read what it writes;
// kcm/requestlog.go has the texts of those about requests.
package analyze

import (
	"strconv"
	"strings"
	"time"

	"gosssd/responder/log"
)

// Line is one line of a log.
type Line struct {
	Time     time.Time // zero where the log has none
	Process  string    // whatever tells processes of one program apart; "" in a file, which does not
	Program  string
	Function string
	Level    log.Level
	CID      uint64 // number of the connection; 0 if the line is of none
	Text     string // without the pairs
	Pairs    []Pair

	// Of a line that stands for others, which were counted and not written.
	LeftOut int
	Window  time.Duration
}

// Pair is a name and its value.
type Pair struct{ Key, Value string }

// Get returns the value of a name, of several the last one, or "".
func (l Line) Get(key string) string {
	for i := len(l.Pairs) - 1; i >= 0; i-- {
		if l.Pairs[i].Key == key {
			return l.Pairs[i].Value
		}
	}
	return ""
}

// Parse reads a line of a file, as
//
//	(2026-11-23  9:05:00): [kcm] [function] (0x0400): [CID#3] text: key=value
//
// without its end. Times in files have no zone; they are of the one given. What
// is no such line is not ok, as the lines that led to a failure, which are
// written a second time with blanks before them.
func Parse(line string, zone *time.Location) (l Line, ok bool) {
	if strings.HasPrefix(line, "(") {
		stamp, rest, found := strings.Cut(line[1:], "): ")
		if l.Time, ok = parseTime(stamp, zone); !ok || !found {
			return Line{}, false
		}
		line = rest
	}
	if l.Program, line, ok = enclosed(line, "[", "] "); !ok {
		return Line{}, false
	}
	if l.Function, line, ok = enclosed(line, "[", "] "); !ok {
		return Line{}, false
	}
	bits, line, ok := enclosed(line, "(0x", "): ")
	if !ok || !l.setLevel(bits) {
		return Line{}, false
	}
	l.setMessage(line)
	return l, true
}

// enclosed cuts off what stands between two marks.
func enclosed(line, before, after string) (inside, rest string, ok bool) {
	rest, ok = strings.CutPrefix(line, before)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, after)
}

// parseTime reads 2026-11-23  9:05:00, with or without :123456.
func parseTime(stamp string, zone *time.Location) (time.Time, bool) {
	const hour = len("2026-11-23 ")
	if len(stamp) > hour && stamp[hour] == ' ' {
		stamp = stamp[:hour] + "0" + stamp[hour+1:]
	}
	const whole = len(time.DateTime)
	if len(stamp) > whole && stamp[whole] == ':' {
		stamp = stamp[:whole] + "." + stamp[whole+1:] // a fraction for package time
	}
	t, err := time.ParseInLocation(time.DateTime, stamp, zone)
	return t, err == nil
}

func (l *Line) setLevel(hex string) bool {
	bits, err := strconv.ParseUint(hex, 16, 32)
	l.Level = log.Level(bits)
	return err == nil
}

// setMessage reads what follows the level; in the journal it is the message.
func (l *Line) setMessage(message string) {
	if id, rest, ok := enclosed(message, "[CID#", "] "); ok {
		if n, err := strconv.ParseUint(id, 10, 64); err == nil {
			l.CID, message = n, rest
		}
	}
	l.Text = message
	for at := 0; ; {
		colon := strings.Index(message[at:], ": ")
		if colon < 0 {
			break
		}
		at += colon + len(": ")
		if pairs, ok := parsePairs(message[at:]); ok {
			l.Text, l.Pairs = message[:at-len(": ")], pairs
			break
		}
	}
	l.setLeftOut()
}

// setLeftOut reads the beginning of a line that stands for others:
//
//	12 lines like this one were left out in 10s: request refused
func (l *Line) setLeftOut() {
	number, rest, ok := strings.Cut(l.Text, " lines like this one were left out in ")
	if !ok {
		return
	}
	window, text, ok := strings.Cut(rest, ": ")
	n, err := strconv.Atoi(number)
	d, err2 := time.ParseDuration(window)
	if !ok || err != nil || err2 != nil || n <= 0 || d <= 0 {
		return
	}
	l.LeftOut, l.Window, l.Text = n, d, text
}

// parsePairs reads all of a text as key=value key=value. Values with blanks are
// in quotes; names may have blanks.
func parsePairs(text string) (pairs []Pair, ok bool) {
	for {
		key, rest, found := strings.Cut(text, "=")
		if !found || !isKey(key) {
			return nil, false
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, false
			}
			if value, err = strconv.Unquote(quoted); err != nil {
				return nil, false
			}
			rest = rest[len(quoted):]
		} else {
			end := strings.IndexByte(rest, ' ')
			if end < 0 {
				end = len(rest)
			}
			value, rest = rest[:end], rest[end:]
		}
		pairs = append(pairs, Pair{key, value})
		if rest == "" {
			return pairs, true
		}
		if text, ok = strings.CutPrefix(rest, " "); !ok {
			return nil, false
		}
	}
}

// isKey reports whether a text may be the name of a pair.
func isKey(text string) bool {
	if text == "" || text[0] == ' ' || text[len(text)-1] == ' ' {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		return !letter && (r < '0' || '9' < r) && !strings.ContainsRune(" _-", r)
	})
}
